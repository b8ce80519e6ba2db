#include "mc/print.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <complex>
#include <cstring>
#include <ostream>
#include <vector>

#include "mc/detail/str.h"
#include "mc/ops.h"

namespace mc {
namespace {

template <class T>
std::string shortest(T v) {
  if (std::isnan(v)) return "nan";
  if (std::isinf(v)) return v < 0 ? "-inf" : "inf";
  char text[40];
  const auto r = std::to_chars(text, text + sizeof text, v);
  return {text, r.ptr};
}

// Of a 16-bit float given as float32: the fewest digits that no neighbour of `bits` significant bits shares.
std::string shortest_half(float v, int bits) {
  if (!std::isfinite(v) || v == 0) return shortest(v);
  // Below a power of two the next number is half as far.
  const bool power = std::ldexp(1.0F, std::ilogb(v)) == std::abs(v);
  const double reach = std::ldexp(1.0, std::ilogb(v) - bits - (power ? 1 : 0));
  for (int digits = 1; digits < 9; ++digits) {
    char text[40];
    const auto r = std::to_chars(text, text + sizeof text, v, std::chars_format::general, digits);
    float back = 0;
    std::from_chars(text, r.ptr, back);
    if (std::abs(static_cast<double>(back) - v) < reach) return shortest(back);
  }
  return shortest(v);
}

template <class T>
std::string complex_text(std::complex<T> v) {
  const std::string imaginary = shortest(v.imag());
  return cat(shortest(v.real()), imaginary[0] == '-' ? "" : "+", imaginary, "j");
}

template <class T>
T read(const std::byte* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// One element; 16-bit floats come as float32, with their own dtype in `dtype`.
std::string element(const std::byte* p, Dtype dtype) {
  switch (dtype) {
    case Dtype::Bool: return read<uint8_t>(p) ? "True" : "False";
    case Dtype::U8: return cat(static_cast<unsigned>(read<uint8_t>(p)));
    case Dtype::U16: return cat(read<uint16_t>(p));
    case Dtype::U32: return cat(read<uint32_t>(p));
    case Dtype::U64: return cat(read<uint64_t>(p));
    case Dtype::I8: return cat(static_cast<int>(read<int8_t>(p)));
    case Dtype::I16: return cat(read<int16_t>(p));
    case Dtype::I32: return cat(read<int32_t>(p));
    case Dtype::I64: return cat(read<int64_t>(p));
    case Dtype::F16: return shortest_half(read<float>(p), 11);
    case Dtype::BF16: return shortest_half(read<float>(p), 8);
    case Dtype::F32: return shortest(read<float>(p));
    case Dtype::F64: return shortest(read<double>(p));
    case Dtype::C64: return complex_text(read<std::complex<float>>(p));
    case Dtype::C128: return complex_text(read<std::complex<double>>(p));
  }
  return {};
}

struct Printer {
  const Shape& shape;
  Dtype dtype;
  std::vector<std::byte> bytes;
  size_t item;
  int64_t edge;  // 0: everything
  std::vector<std::string> text;
  size_t next = 0, width = 0;

  bool cut(int axis) const { return edge > 0 && shape[axis] > 2 * edge; }

  template <class F>
  void each(int axis, F&& f) const {
    for (int64_t i = 0; i < shape[axis]; ++i) {
      if (cut(axis) && i == edge) i = shape[axis] - edge;
      f(i);
    }
  }
  // The elements to be shown, in order.
  void collect(int axis, int64_t at) {
    if (axis == shape.ndim()) {
      text.push_back(element(bytes.data() + static_cast<size_t>(at) * item, dtype));
      width = std::max(width, text.back().size());
      return;
    }
    each(axis, [&](int64_t i) { collect(axis + 1, at * shape[axis] + i); });
  }
  void write(int axis, size_t indent, std::string& out) {
    if (axis == shape.ndim()) {
      const std::string& t = text[next++];
      out.append(width - t.size(), ' ').append(t);
      return;
    }
    const bool last = axis + 1 == shape.ndim();
    const std::string between = last ? ", " : ",\n" + std::string(indent + 1, ' ');
    out += '[';
    bool first = true;
    each(axis, [&](int64_t i) {
      if (!first) out += between;
      if (!first && cut(axis) && i == shape[axis] - edge) out += "..." + between;
      first = false;
      write(axis + 1, indent + 1, out);
    });
    out += ']';
  }
};

std::string text_of(const Array& a, const PrintOptions& options, size_t indent) {
  const Dtype dtype = a.dtype();
  const Array plain = dtype == Dtype::F16 || dtype == Dtype::BF16 ? astype(a, Dtype::F32) : a;
  Printer p{a.shape(),
            dtype,
            std::vector<std::byte>(plain.nbytes()),
            itemsize(plain.dtype()),
            a.size() > options.threshold ? std::max<int64_t>(options.edge, 1) : 0,
            {}};
  plain.to_bytes(p.bytes.data());
  std::string out;
  if (a.size() == 0 && a.ndim() > 1) return "[]";
  p.collect(0, 0);
  p.write(0, indent, out);
  return out;
}

}  // namespace

std::string to_string(const Array& a, const PrintOptions& options) { return text_of(a, options, 0); }

std::ostream& operator<<(std::ostream& out, const Array& a) {
  if (!a.defined()) return out << "array()";
  constexpr std::string_view kHead = "array(";
  out << kHead << text_of(a, {}, kHead.size()) << ", dtype=" << dtype_name(a.dtype());
  // Where the brackets do not say it.
  if (a.size() == 0 && a.ndim() > 1) out << ", shape=" << a.shape().str();
  return out << ")";
}

}  // namespace mc
