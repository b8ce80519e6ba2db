// Element types, their promotion, and their limits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "mc/export.h"

namespace mc {

enum class Dtype : uint8_t { Bool, U8, U16, U32, U64, I8, I16, I32, I64, F16, BF16, F32, F64, C64, C128 };
inline constexpr int kDtypeCount = 15;

// Bytes of one element; bool is one byte.
MC_API size_t itemsize(Dtype dtype);
// NumPy's name: "float32", "bfloat16", "complex64", "bool" …
MC_API std::string_view dtype_name(Dtype dtype);
// Parses a name of dtype_name or a short one (f32, bf16, i64, u8 …). Throws DtypeMismatch listing the valid
// ones.
MC_API Dtype parse_dtype(std::string_view name);

inline bool is_bool(Dtype d) { return d == Dtype::Bool; }
inline bool is_unsigned(Dtype d) { return d >= Dtype::U8 && d <= Dtype::U64; }
inline bool is_signed_int(Dtype d) { return d >= Dtype::I8 && d <= Dtype::I64; }
inline bool is_integer(Dtype d) { return d >= Dtype::U8 && d <= Dtype::I64; }
inline bool is_floating(Dtype d) { return d >= Dtype::F16 && d <= Dtype::F64; }
inline bool is_complex(Dtype d) { return d == Dtype::C64 || d == Dtype::C128; }
inline bool is_inexact(Dtype d) { return d >= Dtype::F16; }

// The dtype of an operation on `a` and `b`: the array API standard where it speaks; an integer with a float
// gives the float; uint64 with a signed integer gives float64; float16 with bfloat16 gives float32. One table
// for all engines.
MC_API Dtype promote(Dtype a, Dtype b);
// The real dtype of a complex one (complex64 -> float32); others are returned as they are.
MC_API Dtype real_dtype(Dtype dtype);

// Limits of a floating dtype (of the real part for complex). Throws DtypeMismatch for others.
struct FloatInfo {
  double eps, tiny, max, min;
  int bits;
};
MC_API FloatInfo finfo(Dtype dtype);
// Limits of an integer dtype.
struct IntInfo {
  int64_t min;
  uint64_t max;
  int bits;
};
MC_API IntInfo iinfo(Dtype dtype);

// 16-bit floats as bytes; arithmetic on them is done in float32.
struct float16 {
  uint16_t bits;
};
struct bfloat16 {
  uint16_t bits;
};

}  // namespace mc
