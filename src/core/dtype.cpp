#include "mc/dtype.h"

#include <iterator>
#include <limits>

#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc {
namespace {

struct Row {
  std::string_view name, brief;
  size_t size;
};
constexpr Row kRows[kDtypeCount] = {
    {"bool", "bool", 1},   {"uint8", "u8", 1},      {"uint16", "u16", 2},      {"uint32", "u32", 4},
    {"uint64", "u64", 8},  {"int8", "i8", 1},       {"int16", "i16", 2},       {"int32", "i32", 4},
    {"int64", "i64", 8},   {"float16", "f16", 2},   {"bfloat16", "bf16", 2},   {"float32", "f32", 4},
    {"float64", "f64", 8}, {"complex64", "c64", 8}, {"complex128", "c128", 16}};

Dtype promote_ints(Dtype a, Dtype b) {
  if (is_unsigned(a) == is_unsigned(b)) return itemsize(a) >= itemsize(b) ? a : b;
  const Dtype u = is_unsigned(a) ? a : b, s = is_unsigned(a) ? b : a;
  if (itemsize(s) > itemsize(u)) return s;
  switch (u) {
    case Dtype::U8: return Dtype::I16;
    case Dtype::U16: return Dtype::I32;
    case Dtype::U32: return Dtype::I64;
    default: return Dtype::F64;
  }
}

Dtype promote_floats(Dtype a, Dtype b) {
  if (a == b) return a;
  if (itemsize(a) == 2 && itemsize(b) == 2) return Dtype::F32;
  return itemsize(a) > itemsize(b) ? a : b;
}

}  // namespace

size_t itemsize(Dtype dtype) { return kRows[static_cast<int>(dtype)].size; }
std::string_view dtype_name(Dtype dtype) { return kRows[static_cast<int>(dtype)].name; }

Dtype parse_dtype(std::string_view name) {
  for (int i = 0; i < kDtypeCount; ++i)
    if (name == kRows[i].name || name == kRows[i].brief) return static_cast<Dtype>(i);
  std::string all;
  for (const Row& r : kRows) all += (all.empty() ? "" : ", ") + std::string(r.name);
  throw Error(ErrorCode::DtypeMismatch, cat("unknown dtype '", name, "'"), {}, cat("use one of ", all));
}

Dtype real_dtype(Dtype d) { return d == Dtype::C64 ? Dtype::F32 : d == Dtype::C128 ? Dtype::F64 : d; }

Dtype promote(Dtype a, Dtype b) {
  if (a == b) return a;
  if (is_bool(a)) return b;
  if (is_bool(b)) return a;
  if (is_complex(a) || is_complex(b)) {
    const Dtype ra = real_dtype(a), rb = real_dtype(b);
    const Dtype r = is_integer(ra) ? rb : is_integer(rb) ? ra : promote_floats(ra, rb);
    return r == Dtype::F64 ? Dtype::C128 : Dtype::C64;
  }
  if (is_floating(a) && is_floating(b)) return promote_floats(a, b);
  if (is_floating(a)) return a;
  if (is_floating(b)) return b;
  return promote_ints(a, b);
}

FloatInfo finfo(Dtype dtype) {
  switch (real_dtype(dtype)) {
    case Dtype::F16: return {0x1p-10, 0x1p-14, 65504.0, -65504.0, 16};
    case Dtype::BF16: return {0x1p-7, 0x1p-126, 0x1.FEp127, -0x1.FEp127, 16};
    case Dtype::F32: {
      using L = std::numeric_limits<float>;
      return {L::epsilon(), L::min(), L::max(), L::lowest(), 32};
    }
    case Dtype::F64: {
      using L = std::numeric_limits<double>;
      return {L::epsilon(), L::min(), L::max(), L::lowest(), 64};
    }
    default:
      throw Error(ErrorCode::DtypeMismatch, cat("finfo needs a floating dtype, got ", dtype_name(dtype)),
                  "finfo");
  }
}

IntInfo iinfo(Dtype dtype) {
  if (!is_integer(dtype))
    throw Error(ErrorCode::DtypeMismatch, cat("iinfo needs an integer dtype, got ", dtype_name(dtype)),
                "iinfo");
  const int bits = static_cast<int>(itemsize(dtype)) * 8;
  if (is_unsigned(dtype)) return {0, bits == 64 ? ~0ull : (1ull << bits) - 1, bits};
  const uint64_t max = (1ull << (bits - 1)) - 1;
  return {-static_cast<int64_t>(max) - 1, max, bits};
}

}  // namespace mc
