// Fourier transforms.
#include "mc/fft.h"

#include <nanobind/stl/string.h>

#include "common.h"

namespace mcpy {
namespace {

mc::FftNorm norm_of(const std::string& name) {
  if (name == "backward") return mc::FftNorm::Backward;
  if (name == "ortho") return mc::FftNorm::Ortho;
  if (name == "forward") return mc::FftNorm::Forward;
  throw nb::value_error(("norm is 'backward', 'ortho' or 'forward', not '" + name + "'").c_str());
}
std::optional<Shape> shape_or_none(nb::handle h) {
  if (h.is_none()) return std::nullopt;
  return to_shape(h);
}

using One = Array (*)(const Array&, std::optional<int64_t>, int, mc::FftNorm);
using Several = Array (*)(const Array&, std::optional<Shape>, std::optional<mc::Axes>, mc::FftNorm);
struct NamedOne {
  const char* name;
  One fn;
};
struct NamedSeveral {
  const char* name;
  Several fn;
};
constexpr NamedOne kOne[] = {{"fft", mc::fft},     {"ifft", mc::ifft}, {"rfft", mc::rfft},
                             {"irfft", mc::irfft}, {"hfft", mc::hfft}, {"ihfft", mc::ihfft}};
constexpr NamedSeveral kSeveral[] = {
    {"fftn", mc::fftn}, {"ifftn", mc::ifftn}, {"rfftn", mc::rfftn}, {"irfftn", mc::irfftn}};

}  // namespace

void bind_fft(nb::module_& m) {
  for (const NamedOne& f : kOne)
    m.def(
        f.name,
        [fn = f.fn](nb::handle x, nb::handle n, int axis, const std::string& norm) {
          const std::optional<int64_t> points =
              n.is_none() ? std::nullopt : std::optional<int64_t>(nb::cast<int64_t>(n));
          return fn(to_array(x), points, axis, norm_of(norm));
        },
        nb::arg(), nb::arg().none(), nb::arg(), nb::arg());
  for (const NamedSeveral& f : kSeveral)
    m.def(
        f.name,
        [fn = f.fn](nb::handle x, nb::handle s, nb::handle axes, const std::string& norm) {
          return fn(to_array(x), shape_or_none(s), shape_or_none(axes), norm_of(norm));
        },
        nb::arg(), nb::arg().none(), nb::arg().none(), nb::arg());
  m.def(
      "fftfreq",
      [](int64_t n, double d, nb::handle dtype) {
        return mc::fftfreq(n, d, to_dtype_or_none(dtype).value_or(Dtype::F32));
      },
      nb::arg(), nb::arg(), nb::arg().none());
  m.def(
      "rfftfreq",
      [](int64_t n, double d, nb::handle dtype) {
        return mc::rfftfreq(n, d, to_dtype_or_none(dtype).value_or(Dtype::F32));
      },
      nb::arg(), nb::arg(), nb::arg().none());
  m.def(
      "fftshift",
      [](nb::handle x, nb::handle axes) { return mc::fftshift(to_array(x), shape_or_none(axes)); }, nb::arg(),
      nb::arg().none());
  m.def(
      "ifftshift",
      [](nb::handle x, nb::handle axes) { return mc::ifftshift(to_array(x), shape_or_none(axes)); },
      nb::arg(), nb::arg().none());
}

}  // namespace mcpy
