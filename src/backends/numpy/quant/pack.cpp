// From the file's order to panels of 16 rows, in 32-bit words of four codes.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>

#include "backends/numpy/quant/lift.h"
#include "base/thread_pool.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "prims/block_formats.h"

namespace mc::numpy::quant {
namespace {

static_assert(std::endian::native == std::endian::little, "the planes are cut from little-endian words");

constexpr uint32_t kLow = 0x0F0F0F0F, kOnes = 0x01010101;

uint32_t word(const uint8_t* p) {
  uint32_t w;
  std::memcpy(&w, p, 4);
  return w;
}
// Bit i of four to the lowest bit of byte i.
uint32_t spread_bits(uint32_t four) { return (four & 15) * 0x00204081u & kOnes; }
// Four 4-bit fields of the low half to bytes.
uint32_t spread_nibbles(uint32_t w) {
  w &= 0xFFFF;
  w = (w | w << 8) & 0x00FF00FF;
  return (w | w << 4) & kLow;
}

// The 32 codes of a block, element 4g + b in byte b of w[g].
struct Codes {
  uint32_t w[8];
};

Codes nibble_codes(const uint8_t* qs) {
  Codes c;
  for (int i = 0; i < 4; ++i) {
    c.w[i] = word(qs + 4 * i) & kLow;
    c.w[i + 4] = word(qs + 4 * i) >> 4 & kLow;
  }
  return c;
}
void add_high_bits(Codes& c, const uint8_t* qh) {
  const uint32_t h = word(qh);
  for (int i = 0; i < 8; ++i) c.w[i] |= spread_bits(h >> 4 * i) << 4;
}

Codes k45_codes(const uint8_t* b, bool five, int j) {
  const uint8_t *qh = b + 16, *qs = (five ? b + 48 : b + 16) + 32 * (j / 2);
  Codes c;
  for (int i = 0; i < 8; ++i) {
    c.w[i] = word(qs + 4 * i) >> 4 * (j % 2) & kLow;
    if (five) c.w[i] |= (word(qh + 4 * i) >> j & kOnes) << 4;
  }
  return c;
}

Codes q6k_codes(const uint8_t* b, int j) {
  const int half = j / 4, quarter = j % 4;
  const uint8_t *ql = b + 64 * half + 32 * (quarter % 2), *qh = b + 128 + 32 * half;
  Codes c;
  for (int i = 0; i < 8; ++i)
    c.w[i] = (word(ql + 4 * i) >> 4 * (quarter / 2) & kLow) | (word(qh + 4 * i) >> 2 * quarter & 0x03030303u)
                                                                  << 4;
  return c;
}

Codes affine_codes_of(int bits, const uint8_t* row, int64_t block) {
  Codes c;
  const uint8_t* p = row + block * 4 * bits;
  if (bits == 4) {
    for (int i = 0; i < 8; ++i) c.w[i] = spread_nibbles(static_cast<uint32_t>(p[2 * i] | p[2 * i + 1] << 8));
  } else if (bits == 8) {
    std::memcpy(c.w, p, 32);
  } else {
    uint8_t codes[32];
    blocks::affine_codes(bits, row, block, codes);
    std::memcpy(c.w, codes, 32);
  }
  return c;
}

// Writes one row's words into the planes of a block; `out` is the row's own word of the first vector.
void put_codes(const Codes& c, int bits, uint8_t* out) {
  constexpr int kVector = 4 * kPanel;
  const auto put = [&](uint32_t w) {
    std::memcpy(out, &w, 4);
    out += kVector;
  };
  if (bits == 8) {
    for (uint32_t w : c.w) put(w);
    return;
  }
  if (bits >= 4) {
    for (int i = 0; i < 8; i += 2) put((c.w[i] & kLow) | (c.w[i + 1] & kLow) << 4);
  } else {
    for (int s = 0; s < 8; s += 4) {
      uint32_t w = 0;
      for (int f = 0; f < 4; ++f) w |= (c.w[s + f] & 0x03030303u) << 2 * f;
      put(w);
    }
  }
  if (bits == 3 || bits == 5) {
    uint32_t w = 0;
    for (int g = 0; g < 8; ++g) w |= (c.w[g] >> (bits - 1) & kOnes) << g;
    put(w);
  } else if (bits == 6) {
    for (int s = 0; s < 8; s += 4) {
      uint32_t w = 0;
      for (int f = 0; f < 4; ++f) w |= (c.w[s + f] >> 4 & 0x03030303u) << 2 * f;
      put(w);
    }
  }
}

void k_scales(const uint8_t* s, int j, uint8_t& scale, uint8_t& min) {
  if (j < 4) {
    scale = s[j] & 63;
    min = s[j + 4] & 63;
  } else {
    scale = static_cast<uint8_t>((s[j + 4] & 15) | (s[j - 4] >> 6) << 4);
    min = static_cast<uint8_t>(s[j + 4] >> 4 | (s[j] >> 6) << 4);
  }
}

// One row's part of a panel. `row` is the row's first byte in the source.
void pack_block_row(const Layout& l, const uint8_t* row, int lane, uint8_t* panel) {
  const FormRow& f = kFormRows[l.form];
  const auto format = static_cast<BlockFormat>(static_cast<int>(l.form));
  const int bytes = block_bytes(format);
  for (int64_t r = 0; r < l.k / l.record_k; ++r) {
    const uint8_t* b = row + r * bytes;
    uint8_t* head = panel + r * l.record_bytes;
    uint8_t* block = head + l.head_bytes;
    switch (l.form) {
      case kQ4_0:
      case kQ5_0: {
        std::memcpy(head + 2 * lane, b, 2);
        Codes c = nibble_codes(b + (f.bits == 5 ? 6 : 2));
        if (f.bits == 5) add_high_bits(c, b + 2);
        put_codes(c, f.bits, block + 4 * lane);
        break;
      }
      case kQ4_1:
      case kQ5_1: {
        std::memcpy(head + 2 * lane, b, 2);
        std::memcpy(head + 32 + 2 * lane, b + 2, 2);
        Codes c = nibble_codes(b + (f.bits == 5 ? 8 : 4));
        if (f.bits == 5) add_high_bits(c, b + 4);
        put_codes(c, f.bits, block + 4 * lane);
        break;
      }
      case kQ8_0: {
        std::memcpy(head + 2 * lane, b, 2);
        Codes c;
        for (int i = 0; i < 8; ++i) c.w[i] = word(b + 2 + 4 * i) ^ 0x80808080u;
        put_codes(c, 8, block + 4 * lane);
        break;
      }
      case kQ4_K:
      case kQ5_K:
        std::memcpy(head + 2 * lane, b, 2);
        std::memcpy(head + 32 + 2 * lane, b + 2, 2);
        for (int j = 0; j < 8; ++j, block += l.block_bytes) {
          k_scales(b + 4, j, block[lane], block[kPanel + lane]);
          put_codes(k45_codes(b, f.bits == 5, j), f.bits, block + 32 + 4 * lane);
        }
        break;
      case kQ6_K:
        std::memcpy(head + 2 * lane, b + 208, 2);
        for (int j = 0; j < 8; ++j, block += l.block_bytes) {
          block[lane] = b[192 + 2 * j];
          block[kPanel + lane] = b[192 + 2 * j + 1];
          put_codes(q6k_codes(b, j), 6, block + 32 + 4 * lane);
        }
        break;
      default:  // dense
        std::memcpy(head + bytes * lane, b, static_cast<size_t>(bytes));
        break;
    }
  }
}

void pack_affine_row(const Layout& l, int bits, const Source& src, int64_t index, int lane, uint8_t* panel) {
  const int64_t size = l.scale_dtype == Dtype::F32 ? 4 : 2, groups = l.k / l.record_k;
  const auto* row = static_cast<const uint8_t*>(src.codes) + index * blocks::affine_row_bytes(bits, l.k);
  const auto* scales = static_cast<const uint8_t*>(src.scales) + index * groups * size;
  const auto* biases = static_cast<const uint8_t*>(src.biases) + index * groups * size;
  for (int64_t g = 0; g < groups; ++g) {
    uint8_t* head = panel + g * l.record_bytes;
    std::memcpy(head + size * lane, scales + g * size, static_cast<size_t>(size));
    std::memcpy(head + size * (kPanel + lane), biases + g * size, static_cast<size_t>(size));
    for (int64_t b = 0; b < l.record_k / 32; ++b)
      put_codes(affine_codes_of(bits, row, g * (l.record_k / 32) + b), bits,
                head + l.head_bytes + b * l.block_bytes + 4 * lane);
  }
}

float scale_at(Dtype dtype, const void* p, int64_t i) {
  if (dtype == Dtype::F32) return static_cast<const float*>(p)[i];
  const uint16_t h = static_cast<const uint16_t*>(p)[i];
  return dtype == Dtype::F16 ? blocks::half_to_float(h)
                             : std::bit_cast<float>(static_cast<uint32_t>(h) << 16);
}

int64_t source_row_bytes(const Format& f, int64_t k) {
  if (f.kind == QTensor::Kind::Affine) return blocks::affine_row_bytes(f.bits, k);
  return k / block_elements(f.block) * block_bytes(f.block);
}

void dequantize_one(const Format& f, const Source& src, int64_t row, int64_t k, float* dst) {
  const auto* codes = static_cast<const uint8_t*>(src.codes) + row * source_row_bytes(f, k);
  if (f.kind == QTensor::Kind::Block) return blocks::dequantize_row(f.block, codes, dst, k);
  uint8_t c[32];
  for (int64_t b = 0; b < k / 32; ++b) {
    blocks::affine_codes(f.bits, codes, b, c);
    const int64_t g = row * (k / f.group) + b * 32 / f.group;
    const float scale = scale_at(f.scale_dtype, src.scales, g), bias = scale_at(f.scale_dtype, src.biases, g);
    for (int i = 0; i < 32; ++i) dst[b * 32 + i] = std::fma(scale, static_cast<float>(c[i]), bias);
  }
}

// Of the rows of a packed panel.
bool panel_lifts(const Layout& l, const uint8_t* panel) {
  const FormRow& f = kFormRows[l.form];
  if (!can_lift(l.form)) return false;
  for (int64_t r = 0; r < l.k; r += l.record_k, panel += l.record_bytes)
    for (int lane = 0; lane < kPanel; ++lane) {
      uint16_t d, m = 0;
      std::memcpy(&d, panel + 2 * lane, 2);
      if (f.scheme == Scheme::DM) std::memcpy(&m, panel + 32 + 2 * lane, 2);
      if (!lifts(f, blocks::half_to_float(d), blocks::half_to_float(m))) return false;
    }
  return true;
}

}  // namespace

void check_format(const Format& f, int64_t k) {
  int64_t unit = 0;
  if (f.kind == QTensor::Kind::Block) {
    if (static_cast<int>(f.block) >= kBlockFormatCount)
      throw Error(ErrorCode::InvalidArgument, cat("there is no block format ", static_cast<int>(f.block)),
                  "quantized weight");
    unit = block_elements(f.block);
  } else {
    if (f.bits < 2 || f.bits == 7 || f.bits > 8)
      throw Error(ErrorCode::InvalidArgument, cat("affine groups have 2, 3, 4, 5, 6 or 8 bits, not ", f.bits),
                  "quantized weight");
    if (f.group != 32 && f.group != 64 && f.group != 128)
      throw Error(ErrorCode::InvalidArgument, cat("affine groups have 32, 64 or 128 elements, not ", f.group),
                  "quantized weight");
    if (f.scale_dtype != Dtype::F32 && f.scale_dtype != Dtype::F16 && f.scale_dtype != Dtype::BF16)
      throw Error(ErrorCode::DtypeMismatch, "scales and biases are float32, float16 or bfloat16",
                  "quantized weight");
    unit = f.group;
  }
  if (k < 0 || k % unit != 0)
    throw Error(ErrorCode::ShapeMismatch, cat("rows of ", k, " elements are not whole blocks of ", unit),
                "quantized weight", cat("the last dimension must be a multiple of ", unit));
}

int64_t packed_bytes(const Format& format, int64_t n, int64_t k) {
  check_format(format, k);
  return panels_of(n) * layout_of(format, k).panel_bytes;
}

namespace {
void give_back(const Source& src, int64_t begin, int64_t end, int64_t row_bytes) {
  if (!src.mapped || begin >= end) return;
  static const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  // The page that both ends of a range share with others goes with the later range.
  const uintptr_t from = reinterpret_cast<uintptr_t>(src.codes) + static_cast<uintptr_t>(begin * row_bytes),
                  to = reinterpret_cast<uintptr_t>(src.codes) + static_cast<uintptr_t>(end * row_bytes);
  const uintptr_t first = (begin ? from : from + page - 1) / page * page, last = to / page * page;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}
}  // namespace

bool pack(const Format& format, const Source& src, int64_t n, int64_t k, void* dst) {
  check_format(format, k);
  const Layout l = layout_of(format, k);
  const int64_t row_bytes = source_row_bytes(format, k);
  // Of mapped pages no more than this stays a thread.
  const int64_t slab = std::max<int64_t>(1, (int64_t{1} << 20) / std::max<int64_t>(1, kPanel * row_bytes));
  std::atomic<bool> all_lift = true;
  parallel_for(panels_of(n), 1, [&](int64_t begin, int64_t end) {
    int64_t held = begin;
    for (int64_t p = begin; p < end; ++p) {
      if (p - held == slab) {
        give_back(src, held * kPanel, p * kPanel, row_bytes);
        held = p;
      }
      uint8_t* panel = static_cast<uint8_t*>(dst) + p * l.panel_bytes;
      const int rows = static_cast<int>(n - p * kPanel < kPanel ? n - p * kPanel : kPanel);
      if (rows < kPanel) std::memset(panel, 0, static_cast<size_t>(l.panel_bytes));
      for (int lane = 0; lane < rows; ++lane) {
        const int64_t row = p * kPanel + lane;
        if (format.kind == QTensor::Kind::Affine)
          pack_affine_row(l, format.bits, src, row, lane, panel);
        else
          pack_block_row(l, static_cast<const uint8_t*>(src.codes) + row * row_bytes, lane, panel);
      }
      if (!panel_lifts(l, panel)) all_lift = false;
    }
    give_back(src, held * kPanel, std::min(end * kPanel, n), row_bytes);
  });
  // A fault maps some pages around its own, those that went already, too.
  give_back(src, 0, n, row_bytes);
  return all_lift;
}

void dequantize_rows(const Format& format, const Source& src, int64_t n, int64_t k, const int64_t* ids,
                     int64_t count, float* dst) {
  check_format(format, k);
  parallel_for(count, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* out = dst + i * k;
      if (ids[i] >= 0 && ids[i] < n)
        dequantize_one(format, src, ids[i], k, out);
      else
        for (int64_t j = 0; j < k; ++j) out[j] = NAN;
    }
  });
}

void dequantize(const Format& format, const Source& src, int64_t n, int64_t k, float* dst) {
  check_format(format, k);
  parallel_for(n, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) dequantize_one(format, src, i, k, dst + i * k);
  });
}

}  // namespace mc::numpy::quant
