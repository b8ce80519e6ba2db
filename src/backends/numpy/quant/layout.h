// The packed order of a weight. Rows are taken 16 at a time (a panel), so that a vector lane is an output
// row; the last panel is padded with rows of zero scale. A panel is a sequence of records along k; a record
// holds the scales of its elements and then, for each block of 32 elements, narrow scales and code planes:
//
//   form         record   head of the record              block of 32
//   Q4_0 Q5_0    32       16 x f16 d                      codes
//   Q8_0         32       16 x f16 d                      codes
//   Q4_1 Q5_1    32       16 x f16 d, 16 x f16 m          codes
//   Q4_K Q5_K    256      16 x f16 d, 16 x f16 dmin       16 x u8 scale, 16 x u8 min, codes
//   Q6_K         256      16 x f16 d                      16 x i8 scale of 0..15, 16 x i8 of 16..31, codes
//   affine       group    16 scales, 16 biases            codes
//   dense        1        none                            16 elements
//
// Codes are unsigned (a signed code q is stored as q + bias). In groups of four consecutive elements g = 0..7
// of a block, byte b of a row's 32-bit word belongs to element 4g + b. The planes, each of 16-row vectors of
// 32-bit words:
//   4 bits: 4 vectors; vector i has group 2i in the low nibbles and 2i + 1 in the high ones
//   2 bits: 2 vectors; vector s has group 4s + f at bits 2f of each byte
//   1 bit:  1 vector;  group g at bit g of each byte
//   8 bits: 8 vectors, one a group
// A code of 3 bits is 2 low + 1 high, of 5 bits 4 + 1, of 6 bits 4 + 2; the low plane comes first.
#pragma once

#include <cstdint>

#include "backends/numpy/quant/qmatmul.h"

namespace mc::numpy::quant {

enum Form : int {
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kF32,
  kF16,
  kBF16,
  kA2,
  kA3,
  kA4,
  kA5,
  kA6,
  kA8,
  kForms
};

enum class Scheme { D, DM, K, K6, Affine, Dense };

inline constexpr int kPanel = 16;

struct FormRow {
  Scheme scheme;
  int bits;
  int bias;
};
inline constexpr FormRow kFormRows[kForms] = {
    {Scheme::D, 4, 8},      {Scheme::DM, 4, 0},     {Scheme::D, 5, 16},     {Scheme::DM, 5, 0},
    {Scheme::D, 8, 128},    {Scheme::K, 4, 0},      {Scheme::K, 5, 0},      {Scheme::K6, 6, 32},
    {Scheme::Dense, 32, 0}, {Scheme::Dense, 16, 0}, {Scheme::Dense, 16, 0}, {Scheme::Affine, 2, 0},
    {Scheme::Affine, 3, 0}, {Scheme::Affine, 4, 0}, {Scheme::Affine, 5, 0}, {Scheme::Affine, 6, 0},
    {Scheme::Affine, 8, 0},
};

struct Layout {
  Form form;
  int64_t k;
  int64_t record_k, record_bytes;  // elements and bytes of a record
  int64_t head_bytes, block_bytes;
  int64_t panel_bytes;
  Dtype scale_dtype;  // affine
};

inline Form form_of(const Format& f) {
  if (f.kind == QTensor::Kind::Block) return static_cast<Form>(static_cast<int>(f.block));
  return static_cast<Form>(kA2 + (f.bits == 8 ? 5 : f.bits - 2));
}

inline Layout layout_of(const Format& f, int64_t k) {
  const Form form = form_of(f);
  const FormRow& row = kFormRows[form];
  const int64_t codes = 64 * row.bits;
  Layout l{form, k, 32, 0, 0, codes, 0, f.scale_dtype};
  switch (row.scheme) {
    case Scheme::D: l.head_bytes = 32; break;
    case Scheme::DM: l.head_bytes = 64; break;
    case Scheme::K:
      l.record_k = 256;
      l.head_bytes = 64;
      l.block_bytes += 32;
      break;
    case Scheme::K6:
      l.record_k = 256;
      l.head_bytes = 32;
      l.block_bytes += 32;
      break;
    case Scheme::Affine:
      l.record_k = f.group;
      l.head_bytes = 2 * kPanel * (f.scale_dtype == Dtype::F32 ? 4 : 2);
      break;
    case Scheme::Dense:
      l.record_k = 1;
      l.block_bytes = 0;
      l.head_bytes = 2 * row.bits;
      break;
  }
  l.record_bytes = l.head_bytes + l.record_k / 32 * l.block_bytes;
  l.panel_bytes = k / l.record_k * l.record_bytes;
  return l;
}

inline int64_t panels_of(int64_t n) { return (n + kPanel - 1) / kPanel; }

}  // namespace mc::numpy::quant
