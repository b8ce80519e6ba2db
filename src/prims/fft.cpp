// Fourier transforms. The primitive is one transform along the last axis without a factor; factors, other
// axes, lengths and symmetries are compositions, so that derivatives are transforms again.
#include "mc/fft.h"

#include <algorithm>
#include <cmath>

#include "mc/ops.h"
#include "prims/attrs.h"
#include "prims/rows.h"
#include "prims/shape_check.h"

namespace mc {
namespace {

Dtype complex_of(Dtype d) { return d == Dtype::F64 || d == Dtype::C128 ? Dtype::C128 : Dtype::C64; }

void infer_fft(InferCtx& c) {
  const auto& a = c.as<FftAttrs>();
  const bool real_in = a.kind == FftAttrs::Real, real_out = a.kind == FftAttrs::ToReal;
  require_dtype(c, 0, real_in ? kDF32 | kDF64 : kDComplex);
  Shape s = c.shape(0);
  if (s.ndim() < 1)
    c.fail(ErrorCode::ShapeMismatch, "a Fourier transform needs an axis, the array has no dimensions");
  const int64_t want = real_out ? a.n / 2 + 1 : a.n;
  if (a.n < 1 || s.back() != want)
    c.fail(ErrorCode::ShapeMismatch,
           cat("the last axis of shape ", s.str(), " has to have length ", want, " for ", a.n, " points"));
  if (real_in) s[s.ndim() - 1] = a.n / 2 + 1;
  if (real_out) s[s.ndim() - 1] = a.n;
  check_countable(c, s);
  c.push(s, real_in ? complex_of(c.dtype(0)) : real_out ? real_dtype(c.dtype(0)) : c.dtype(0));
}

Array transform(const Array& a, int kind, int64_t n) { return apply1(Op::Fft, {a}, FftAttrs{kind, n}); }

// The last axis cut or filled with zeros to n.
Array fitted(const Array& a, int64_t n) {
  const int64_t has = a.shape(-1);
  if (has > n) return slice_axis(a, -1, 0, n);
  if (has == n) return a;
  std::vector<std::pair<int64_t, int64_t>> widths(static_cast<size_t>(a.ndim()), {0, 0});
  widths.back().second = n - has;
  return pad(a, widths);
}

// The adjoint maps: of sums over exp(∓2πi·jk/n) those with the other sign, of a part the other part with
// zeros.
Arrays vjp_fft(const VjpCtx& c) {
  const auto& a = c.as<FftAttrs>();
  const Array& g = c.cot[0];
  switch (a.kind) {
    case FftAttrs::Forward: return {transform(g, FftAttrs::Inverse, a.n)};
    case FftAttrs::Inverse: return {transform(g, FftAttrs::Forward, a.n)};
    case FftAttrs::Real: return {real(transform(fitted(g, a.n), FftAttrs::Inverse, a.n))};
    default: break;
  }
  // Each term but the first, and the middle one of an even n, stands for its conjugate, too.
  const Array terms = transform(g, FftAttrs::Real, a.n);
  const Array k = arange(terms.shape(-1));
  const Array alone = a.n % 2 == 0 ? logical_or(equal(k, 0), equal(k, a.n / 2)) : equal(k, 0);
  return {complex(where(alone, real(terms), real(terms) * 2), where(alone, 0, imag(terms) * 2))};
}

Arrays vmap_fft(const VmapCtx& c) { return {apply1(c.op, {c.in[0]}, c.attrs)}; }

std::vector<SampleCase> fft_cases() {
  std::vector<SampleCase> out;
  for (const bool wide : {false, true}) {
    const Dtype r = wide ? Dtype::F64 : Dtype::F32, z = wide ? Dtype::C128 : Dtype::C64;
    // Powers of two, small factors, a prime by itself and one beyond what is summed directly.
    for (int64_t n : {1, 8, 30, 49, 101}) {
      const Shape s{2, 3, n}, half{3, n / 2 + 1};
      const std::string count = cat(n);
      out.push_back({{s}, FftAttrs{FftAttrs::Forward, n}, "np.fft.fft(in0)", {z}});
      out.push_back({{s}, FftAttrs{FftAttrs::Inverse, n}, cat("np.fft.ifft(in0) * ", count), {z}});
      out.push_back({{s}, FftAttrs{FftAttrs::Real, n}, "np.fft.rfft(in0)", {r}});
      out.push_back(
          {{half}, FftAttrs{FftAttrs::ToReal, n}, cat("np.fft.irfft(in0, ", count, ") * ", count), {z}});
    }
  }
  return out;
}

const OpDef kRows[] = {
    {.op = Op::Fft,
     .doc =
         "Fourier transform along the last axis, without a factor: forward, inverse, of and to real numbers",
     .infer = infer_fft,
     .vjp = vjp_fft,
     .vmap = vmap_fft,
     .samples = {.dtypes = kDF32 | kDF64 | kDComplex, .c = 8, .cases = fft_cases}},
};

// --- the public functions

Array to_real_floats(const Array& a, const char* name) {
  if (is_complex(a.dtype()))
    throw Error(ErrorCode::DtypeMismatch, cat("takes real numbers, got ", dtype_name(a.dtype())), name,
                "use fft for complex ones");
  return astype(a, a.dtype() == Dtype::F64 ? Dtype::F64 : Dtype::F32);
}
Array to_complex(const Array& a) { return astype(a, complex_of(a.dtype())); }

double factor(FftNorm norm, bool inverse, int64_t n) {
  if (norm == FftNorm::Ortho) return 1 / std::sqrt(static_cast<double>(n));
  return inverse == (norm == FftNorm::Backward) ? 1 / static_cast<double>(n) : 1;
}
// Part by part: a complex factor would make NaN of an infinity times 0.
Array scaled(const Array& a, double by) {
  if (by == 1) return a;
  return is_complex(a.dtype()) ? complex(real(a) * by, imag(a) * by) : a * by;
}

Array along(const Array& a, int kind, std::optional<int64_t> given, int axis, FftNorm norm,
            const char* name) {
  if (a.ndim() < 1) throw Error(ErrorCode::ShapeMismatch, "the array has no dimensions", name);
  axis = normalize_axis(axis, a.ndim(), name);
  const bool to_real = kind == FftAttrs::ToReal, last = axis == a.ndim() - 1;
  const int64_t n = given.value_or(to_real ? 2 * (a.shape(axis) - 1) : a.shape(axis));
  if (n < 1)
    throw Error(ErrorCode::ShapeMismatch, cat("a transform has at least 1 point, got ", n), name,
                "give n, or an axis that is long enough");
  const Array x = kind == FftAttrs::Real ? to_real_floats(a, name) : to_complex(a);
  const Array y = transform(fitted(last ? x : moveaxis(x, axis, -1), to_real ? n / 2 + 1 : n), kind, n);
  const bool inverse = kind == FftAttrs::Inverse || to_real;
  const Array z = scaled(y, factor(norm, inverse, n));
  return last ? z : moveaxis(z, -1, axis);
}

FftNorm other(FftNorm norm) {
  return norm == FftNorm::Backward ? FftNorm::Forward : norm == FftNorm::Forward ? FftNorm::Backward : norm;
}

struct Plan {
  Axes axes;
  std::vector<std::optional<int64_t>> n;
};
Plan plan(const Array& a, const std::optional<Shape>& s, const std::optional<Axes>& axes, const char* name) {
  Plan p;
  if (axes)
    for (int64_t x : *axes) p.axes.push_back(normalize_axis(x, a.ndim(), name));
  else
    for (int d = s ? std::max(0, a.ndim() - s->ndim()) : 0; d < a.ndim(); ++d) p.axes.push_back(d);
  if (p.axes.empty() || (s && s->ndim() != p.axes.ndim()))
    throw Error(ErrorCode::ShapeMismatch,
                cat("the lengths ", s ? s->str() : "()", " do not fit the axes ", p.axes.str()), name);
  for (int i = 0; i < p.axes.ndim(); ++i) p.n.push_back(s ? std::optional<int64_t>((*s)[i]) : std::nullopt);
  return p;
}
Array several(Array a, const Plan& p, int count, int kind, FftNorm norm, const char* name) {
  for (int i = count - 1; i >= 0; --i)
    a = along(a, kind, p.n[static_cast<size_t>(i)], static_cast<int>(p.axes[i]), norm, name);
  return a;
}

Array frequencies(const Array& k, int64_t n, double d, Dtype dtype, const char* name) {
  if (!is_floating(dtype))
    throw Error(ErrorCode::DtypeMismatch, cat("frequencies are real floats, not ", dtype_name(dtype)), name);
  return astype(astype(k, Dtype::F64) / (static_cast<double>(n) * d), dtype);
}
void check_count(int64_t n, const char* name) {
  if (n < 1) throw Error(ErrorCode::InvalidArgument, cat("n is at least 1, got ", n), name);
}
Array shifted(Array a, const std::optional<Axes>& axes, bool back, const char* name) {
  Axes all;
  for (int d = 0; d < a.ndim(); ++d) all.push_back(d);
  for (int64_t x : axes ? *axes : all) {
    const int d = normalize_axis(x, a.ndim(), name);
    const int64_t half = a.shape(d) / 2;
    if (a.shape(d) > 1) a = roll(a, back ? -half : half, d);
  }
  return a;
}

}  // namespace

Rows fft_rows() { return kRows; }

Array fft(const Array& a, std::optional<int64_t> n, int axis, FftNorm norm) {
  return along(a, FftAttrs::Forward, n, axis, norm, "fft");
}
Array ifft(const Array& a, std::optional<int64_t> n, int axis, FftNorm norm) {
  return along(a, FftAttrs::Inverse, n, axis, norm, "ifft");
}
Array rfft(const Array& a, std::optional<int64_t> n, int axis, FftNorm norm) {
  return along(a, FftAttrs::Real, n, axis, norm, "rfft");
}
Array irfft(const Array& a, std::optional<int64_t> n, int axis, FftNorm norm) {
  return along(a, FftAttrs::ToReal, n, axis, norm, "irfft");
}
Array hfft(const Array& a, std::optional<int64_t> n, int axis, FftNorm norm) {
  return along(conj(to_complex(a)), FftAttrs::ToReal, n, axis, other(norm), "hfft");
}
Array ihfft(const Array& a, std::optional<int64_t> n, int axis, FftNorm norm) {
  return conj(along(a, FftAttrs::Real, n, axis, other(norm), "ihfft"));
}
Array fftn(const Array& a, std::optional<Shape> s, std::optional<Axes> axes, FftNorm norm) {
  const Plan p = plan(a, s, axes, "fftn");
  return several(a, p, p.axes.ndim(), FftAttrs::Forward, norm, "fftn");
}
Array ifftn(const Array& a, std::optional<Shape> s, std::optional<Axes> axes, FftNorm norm) {
  const Plan p = plan(a, s, axes, "ifftn");
  return several(a, p, p.axes.ndim(), FftAttrs::Inverse, norm, "ifftn");
}
Array rfftn(const Array& a, std::optional<Shape> s, std::optional<Axes> axes, FftNorm norm) {
  const Plan p = plan(a, s, axes, "rfftn");
  const int last = p.axes.ndim() - 1;
  const Array x = along(a, FftAttrs::Real, p.n.back(), static_cast<int>(p.axes[last]), norm, "rfftn");
  return several(x, p, last, FftAttrs::Forward, norm, "rfftn");
}
Array irfftn(const Array& a, std::optional<Shape> s, std::optional<Axes> axes, FftNorm norm) {
  const Plan p = plan(a, s, axes, "irfftn");
  const int last = p.axes.ndim() - 1;
  const Array x = several(a, p, last, FftAttrs::Inverse, norm, "irfftn");
  return along(x, FftAttrs::ToReal, p.n.back(), static_cast<int>(p.axes[last]), norm, "irfftn");
}
Array fftfreq(int64_t n, double d, Dtype dtype) {
  check_count(n, "fftfreq");
  const Array k = arange(n);
  return frequencies(where(less(k, (n + 1) / 2), k, k - n), n, d, dtype, "fftfreq");
}
Array rfftfreq(int64_t n, double d, Dtype dtype) {
  check_count(n, "rfftfreq");
  return frequencies(arange(n / 2 + 1), n, d, dtype, "rfftfreq");
}
Array fftshift(const Array& a, std::optional<Axes> axes) { return shifted(a, axes, false, "fftshift"); }
Array ifftshift(const Array& a, std::optional<Axes> axes) { return shifted(a, axes, true, "ifftshift"); }

}  // namespace mc
