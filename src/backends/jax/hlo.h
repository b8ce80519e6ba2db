// A StableHLO program as text, written operation by operation in MLIR's generic form.
#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/node.h"

namespace mc::jax_engine {

// A value of the program.
struct Val {
  int id = -1;
  Aval aval;
  const Shape& shape() const { return aval.shape; }
  Dtype dtype() const { return aval.dtype; }
  int ndim() const { return aval.shape.ndim(); }
};

std::string type_text(const Aval& a);
std::string ints(std::span<const int64_t> v);       // "[1, 2]"
std::string list_text(std::span<const int64_t> v);  // "array<i64: 1, 2>"
inline std::string list_text(const Shape& s) {
  return list_text(std::span<const int64_t>(s.begin(), s.end()));
}

class Hlo {
 public:
  explicit Hlo(bool on_host) : on_host_(on_host) {}
  bool on_host() const { return on_host_; }  // XLA's CPU compiler
  Val parameter(const Aval& aval);
  // The whole module; alias[i] >= 0: parameter i may become that output, -2: it may be overwritten.
  std::string module(std::span<const Val> outputs, std::span<const int> alias) const;

  Val op(std::string_view name, std::span<const Val> in, const Aval& out, std::string_view attrs = {});
  Val op(std::string_view name, std::initializer_list<Val> in, const Aval& out, std::string_view attrs = {}) {
    return op(name, std::span<const Val>(in.begin(), in.size()), out, attrs);
  }
  // Several results; `region` is its body's text, made by Hlo::region.
  std::vector<Val> ops(std::string_view name, std::span<const Val> in, std::span<const Aval> out,
                       std::string_view attrs = {}, std::string_view region = {});
  // A body of scalars: `body` gets its arguments and gives what is returned.
  std::string region(std::span<const Aval> arguments,
                     const std::function<std::vector<Val>(std::span<const Val>)>& body);

  // Constants are written once for each value.
  Val number(Dtype dtype, double v);
  Val integer(Dtype dtype, int64_t v);
  Val complex_number(Dtype dtype, double re, double im);
  Val filled(const Aval& aval, double v) { return spread(number(aval.dtype, v), aval.shape); }
  Val filled_int(const Aval& aval, int64_t v) { return spread(integer(aval.dtype, v), aval.shape); }
  // Any dtype's zero or one.
  Val whole(const Aval& aval, int v);
  Val infinity(const Aval& aval, bool negative = false);
  Val nan(const Aval& aval);
  Val iota(const Aval& aval, int axis);

  // --- one to one; operands have one shape
  Val same(std::string_view name, const Val& a) { return op(name, {a}, a.aval); }
  Val same(std::string_view name, const Val& a, const Val& b) { return op(name, {a, b}, a.aval); }
  Val add(const Val& a, const Val& b) { return same("stablehlo.add", a, b); }
  Val sub(const Val& a, const Val& b) { return same("stablehlo.subtract", a, b); }
  Val mul(const Val& a, const Val& b) { return same("stablehlo.multiply", a, b); }
  Val div(const Val& a, const Val& b) { return same("stablehlo.divide", a, b); }
  Val land(const Val& a, const Val& b) { return same("stablehlo.and", a, b); }
  Val lor(const Val& a, const Val& b) { return same("stablehlo.or", a, b); }
  Val lxor(const Val& a, const Val& b) { return same("stablehlo.xor", a, b); }
  Val lnot(const Val& a) { return same("stablehlo.not", a); }
  Val shl(const Val& a, int n);
  Val shr(const Val& a, int n);  // logical
  Val select(const Val& p, const Val& a, const Val& b) { return op("stablehlo.select", {p, a, b}, a.aval); }
  // EQ NE LT LE GT GE
  Val compare(const Val& a, const Val& b, std::string_view direction);
  Val is_nan(const Val& a) { return compare(a, a, "NE"); }
  // StableHLO's conversion as it stands: exact, or rounded once by the compiler.
  Val convert(const Val& a, Dtype dtype);
  Val bitcast(const Val& a, const Aval& out);

  // --- shapes
  Val reshape(const Val& a, const Shape& shape);
  Val spread(const Val& scalar, const Shape& shape);  // of a scalar
  // NumPy's broadcasting of a to `shape`.
  Val broadcast(const Val& a, const Shape& shape);
  // Dimension d of a becomes dimension dims[d].
  Val broadcast_dims(const Val& a, const Shape& shape, const Shape& dims);
  Val transpose(const Val& a, const Shape& axes);
  Val slice(const Val& a, const Shape& start, const Shape& stop, const Shape& step);
  Val slice_axis(const Val& a, int axis, int64_t start, int64_t stop);
  Val concatenate(std::span<const Val> parts, int axis);
  Val pad(const Val& a, const Val& value, const Shape& low, const Shape& high, const Shape& interior);
  Val reduce(std::string_view combine, const Val& a, const Val& init, const Axes& axes);

 private:
  Val fresh(const Aval& aval) { return {next_++, aval}; }
  bool on_host_;
  int next_ = 0;
  std::vector<Aval> parameters_;
  std::string text_;
  std::string* out_ = &text_;
  std::map<std::string, Val> constants_;
  std::string constant_text_;
};

}  // namespace mc::jax_engine
