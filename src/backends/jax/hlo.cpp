#include "backends/jax/hlo.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "prims/block_formats.h"

namespace mc::jax_engine {
namespace {

const char* element_text(Dtype d) {
  switch (d) {
    case Dtype::Bool: return "i1";
    case Dtype::U8: return "ui8";
    case Dtype::U16: return "ui16";
    case Dtype::U32: return "ui32";
    case Dtype::U64: return "ui64";
    case Dtype::I8: return "i8";
    case Dtype::I16: return "i16";
    case Dtype::I32: return "i32";
    case Dtype::I64: return "i64";
    case Dtype::F16: return "f16";
    case Dtype::BF16: return "bf16";
    case Dtype::F32: return "f32";
    case Dtype::F64: return "f64";
    case Dtype::C64: return "complex<f32>";
    case Dtype::C128: return "complex<f64>";
  }
  return "?";
}

std::string hex(uint64_t bits, int digits) {
  std::string out = "0x";
  for (int i = digits - 1; i >= 0; --i) out += "0123456789ABCDEF"[bits >> (4 * i) & 15];
  return out;
}
// float32 rounded to odd: rounding that once more, to 16 bits, is rounding once.
float to_odd(double v) {
  const auto f = static_cast<float>(v);
  if (v != v || static_cast<double>(f) == v) return f;
  uint32_t u = std::bit_cast<uint32_t>(f);
  if (std::fabs(static_cast<double>(f)) > std::fabs(v)) --u;
  return std::bit_cast<float>(u | 1);
}
// A float's bits: what is written is what is computed with.
std::string float_text(Dtype d, double v) {
  const float f = d == Dtype::F32 ? static_cast<float>(v) : to_odd(v);
  switch (d) {
    case Dtype::F16: return hex(blocks::float_to_half(f), 4);
    case Dtype::BF16: {
      uint32_t u = std::bit_cast<uint32_t>(f);
      if (f != f) return "0x7FC0";
      return hex((u + 0x7fff + (u >> 16 & 1)) >> 16, 4);
    }
    case Dtype::F32: return hex(std::bit_cast<uint32_t>(f), 8);
    default: return hex(std::bit_cast<uint64_t>(v), 16);
  }
}

}  // namespace

std::string type_text(const Aval& a) {
  std::string out = "tensor<";
  for (int64_t d : a.shape) out += cat(d, "x");
  return out + element_text(a.dtype) + ">";
}
std::string ints(std::span<const int64_t> v) {
  std::string out = "[";
  for (size_t i = 0; i < v.size(); ++i) out += cat(i ? ", " : "", v[i]);
  return out + "]";
}

std::string list_text(std::span<const int64_t> v) {
  if (v.empty()) return "array<i64>";
  std::string out = "array<i64: ";
  for (size_t i = 0; i < v.size(); ++i) out += cat(i ? ", " : "", v[i]);
  return out + ">";
}

Val Hlo::parameter(const Aval& aval) {
  parameters_.push_back(aval);
  return fresh(aval);
}

std::string Hlo::module(std::span<const Val> outputs, std::span<const int> alias) const {
  std::string out = "module @mc {\nfunc.func public @main(";
  for (size_t i = 0; i < parameters_.size(); ++i) {
    out += cat(i ? ", " : "", "%v", i, ": ", type_text(parameters_[i]));
    if (i < alias.size() && alias[i] >= 0) out += cat(" {tf.aliasing_output = ", alias[i], " : i32}");
    if (i < alias.size() && alias[i] == -2) out += " {jax.buffer_donor = true}";
  }
  out += ") -> (";
  for (size_t i = 0; i < outputs.size(); ++i) out += cat(i ? ", " : "", type_text(outputs[i].aval));
  out += ") {\n";
  out += constant_text_;
  out += text_;
  out += "\"func.return\"(";
  for (size_t i = 0; i < outputs.size(); ++i) out += cat(i ? ", " : "", "%v", outputs[i].id);
  out += ") : (";
  for (size_t i = 0; i < outputs.size(); ++i) out += cat(i ? ", " : "", type_text(outputs[i].aval));
  return out + ") -> ()\n}\n}\n";
}

std::vector<Val> Hlo::ops(std::string_view name, std::span<const Val> in, std::span<const Aval> out,
                          std::string_view attrs, std::string_view region) {
  std::vector<Val> results;
  for (const Aval& a : out) results.push_back(fresh(a));
  std::string& t = *out_;
  for (size_t i = 0; i < results.size(); ++i) t += cat(i ? ", " : "", "%v", results[i].id);
  t += cat(" = \"", name, "\"(");
  for (size_t i = 0; i < in.size(); ++i) t += cat(i ? ", " : "", "%v", in[i].id);
  t += ")";
  if (!region.empty()) t += cat(" (", region, ")");
  if (!attrs.empty()) t += cat(" {", attrs, "}");
  t += " : (";
  for (size_t i = 0; i < in.size(); ++i) t += cat(i ? ", " : "", type_text(in[i].aval));
  t += ") -> ";
  if (out.size() != 1) t += "(";
  for (size_t i = 0; i < out.size(); ++i) t += cat(i ? ", " : "", type_text(out[i]));
  t += out.size() != 1 ? ")\n" : "\n";
  return results;
}

Val Hlo::op(std::string_view name, std::span<const Val> in, const Aval& out, std::string_view attrs) {
  return ops(name, in, {&out, 1}, attrs)[0];
}

std::string Hlo::region(std::span<const Aval> arguments,
                        const std::function<std::vector<Val>(std::span<const Val>)>& body) {
  std::string text = "{\n^bb0(";
  std::vector<Val> args;
  for (const Aval& a : arguments) {
    args.push_back(fresh(a));
    text += cat(args.size() > 1 ? ", " : "", "%v", args.back().id, ": ", type_text(a));
  }
  text += "):\n";
  std::string inner;
  std::string* outer = std::exchange(out_, &inner);
  const std::vector<Val> results = body(args);
  out_ = outer;
  text += inner + "\"stablehlo.return\"(";
  for (size_t i = 0; i < results.size(); ++i) text += cat(i ? ", " : "", "%v", results[i].id);
  text += ") : (";
  for (size_t i = 0; i < results.size(); ++i) text += cat(i ? ", " : "", type_text(results[i].aval));
  return text + ") -> ()\n}";
}

// --- constants

namespace {
std::string constant_line(int id, const std::string& literal, const Aval& a) {
  return cat("%v", id, " = \"stablehlo.constant\"() {value = dense<", literal, "> : ", type_text(a),
             "} : () -> ", type_text(a), "\n");
}
}  // namespace

Val Hlo::number(Dtype d, double v) {
  if (is_complex(d)) return complex_number(d, v, 0);
  if (!is_floating(d)) return integer(d, static_cast<int64_t>(v));
  const std::string literal = float_text(d, v);
  auto [it, made] = constants_.try_emplace(cat(element_text(d), " ", literal));
  if (made) {
    it->second = fresh({{}, d});
    constant_text_ += constant_line(it->second.id, literal, it->second.aval);
  }
  return it->second;
}
Val Hlo::integer(Dtype d, int64_t v) {
  if (is_inexact(d)) return number(d, static_cast<double>(v));
  std::string literal;
  if (is_bool(d))
    literal = v ? "true" : "false";
  else if (is_unsigned(d))
    literal = cat(d == Dtype::U64   ? static_cast<uint64_t>(v)
                  : d == Dtype::U32 ? uint64_t{static_cast<uint32_t>(v)}
                  : d == Dtype::U16 ? uint64_t{static_cast<uint16_t>(v)}
                                    : uint64_t{static_cast<uint8_t>(v)});
  else
    literal = cat(d == Dtype::I64   ? v
                  : d == Dtype::I32 ? int64_t{static_cast<int32_t>(v)}
                  : d == Dtype::I16 ? int64_t{static_cast<int16_t>(v)}
                                    : int64_t{static_cast<int8_t>(v)});
  auto [it, made] = constants_.try_emplace(cat(element_text(d), " ", literal));
  if (made) {
    it->second = fresh({{}, d});
    constant_text_ += constant_line(it->second.id, literal, it->second.aval);
  }
  return it->second;
}
Val Hlo::complex_number(Dtype d, double re, double im) {
  const Dtype part = real_dtype(d);
  return op("stablehlo.complex", {number(part, re), number(part, im)}, {{}, d});
}
Val Hlo::whole(const Aval& a, int v) { return spread(integer(a.dtype, v), a.shape); }
Val Hlo::infinity(const Aval& a, bool negative) {
  const double inf = std::numeric_limits<double>::infinity();
  return filled(a, negative ? -inf : inf);
}
Val Hlo::nan(const Aval& a) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  if (is_complex(a.dtype)) return spread(complex_number(a.dtype, nan, nan), a.shape);
  return filled(a, nan);
}
Val Hlo::iota(const Aval& a, int axis) {
  return op("stablehlo.iota", {}, a, cat("iota_dimension = ", axis, " : i64"));
}

// --- one to one

Val Hlo::shl(const Val& a, int n) { return same("stablehlo.shift_left", a, filled_int(a.aval, n)); }
Val Hlo::shr(const Val& a, int n) { return same("stablehlo.shift_right_logical", a, filled_int(a.aval, n)); }
Val Hlo::compare(const Val& a, const Val& b, std::string_view direction) {
  const char* kind = is_inexact(a.dtype()) ? "FLOAT" : is_signed_int(a.dtype()) ? "SIGNED" : "UNSIGNED";
  return op("stablehlo.compare", {a, b}, {a.shape(), Dtype::Bool},
            cat("comparison_direction = #stablehlo<comparison_direction ", direction,
                ">, compare_type = #stablehlo<comparison_type ", kind, ">"));
}
Val Hlo::convert(const Val& a, Dtype d) {
  return a.dtype() == d ? a : op("stablehlo.convert", {a}, {a.shape(), d});
}
Val Hlo::bitcast(const Val& a, const Aval& out) { return op("stablehlo.bitcast_convert", {a}, out); }

// --- shapes

Val Hlo::reshape(const Val& a, const Shape& shape) {
  return a.shape() == shape ? a : op("stablehlo.reshape", {a}, {shape, a.dtype()});
}
Val Hlo::spread(const Val& scalar, const Shape& shape) {
  if (shape.ndim() == 0) return scalar;
  return broadcast_dims(scalar, shape, {});
}
Val Hlo::broadcast_dims(const Val& a, const Shape& shape, const Shape& dims) {
  return op("stablehlo.broadcast_in_dim", {a}, {shape, a.dtype()},
            cat("broadcast_dimensions = ", list_text(dims)));
}
Val Hlo::broadcast(const Val& a, const Shape& shape) {
  if (a.shape() == shape) return a;
  Shape dims;
  for (int d = 0; d < a.ndim(); ++d) dims.push_back(shape.ndim() - a.ndim() + d);
  return broadcast_dims(a, shape, dims);
}
Val Hlo::transpose(const Val& a, const Shape& axes) {
  Shape shape;
  bool same_order = true;
  for (int d = 0; d < axes.ndim(); ++d) {
    shape.push_back(a.shape()[static_cast<int>(axes[d])]);
    same_order = same_order && axes[d] == d;
  }
  if (same_order) return a;
  return op("stablehlo.transpose", {a}, {shape, a.dtype()}, cat("permutation = ", list_text(axes)));
}
Val Hlo::slice(const Val& a, const Shape& start, const Shape& stop, const Shape& step) {
  Shape shape, last = stop;
  bool whole = true;
  for (int d = 0; d < a.ndim(); ++d) {
    if (last[d] < start[d]) last[d] = start[d];
    shape.push_back((last[d] - start[d] + step[d] - 1) / step[d]);
    whole = whole && shape[d] == a.shape()[d];
  }
  if (whole) return a;
  return op("stablehlo.slice", {a}, {shape, a.dtype()},
            cat("start_indices = ", list_text(start), ", limit_indices = ", list_text(last),
                ", strides = ", list_text(step)));
}
Val Hlo::slice_axis(const Val& a, int axis, int64_t start, int64_t stop) {
  Shape b = Shape::filled(a.ndim(), 0), e = a.shape();
  b[axis] = start;
  e[axis] = stop;
  return slice(a, b, e, Shape::filled(a.ndim(), 1));
}
Val Hlo::concatenate(std::span<const Val> parts, int axis) {
  if (parts.size() == 1) return parts[0];
  Aval out = parts[0].aval;
  for (size_t i = 1; i < parts.size(); ++i) out.shape[axis] += parts[i].shape()[axis];
  return op("stablehlo.concatenate", parts, out, cat("dimension = ", axis, " : i64"));
}
Val Hlo::pad(const Val& a, const Val& value, const Shape& low, const Shape& high, const Shape& interior) {
  Shape shape;
  for (int d = 0; d < a.ndim(); ++d) {
    const int64_t n = a.shape()[d];
    shape.push_back(low[d] + high[d] + n + (n > 0 ? (n - 1) * interior[d] : 0));
  }
  return op("stablehlo.pad", {a, value}, {shape, a.dtype()},
            cat("edge_padding_low = ", list_text(low), ", edge_padding_high = ", list_text(high),
                ", interior_padding = ", list_text(interior)));
}
Val Hlo::reduce(std::string_view combine, const Val& a, const Val& init, const Axes& axes) {
  Aval out{{}, a.dtype()};
  for (int d = 0; d < a.ndim(); ++d)
    if (!axes.contains(d)) out.shape.push_back(a.shape()[d]);
  const Aval one{{}, a.dtype()}, two[2] = {one, one};
  const std::string body = region(two, [&](std::span<const Val> x) {
    return std::vector<Val>{op(combine, {x[0], x[1]}, one)};
  });
  const Val in[2] = {a, init};
  return ops("stablehlo.reduce", in, {&out, 1}, cat("dimensions = ", list_text(axes)), body)[0];
}

}  // namespace mc::jax_engine
