// Fourier transforms.
#include "backends/jax/lower.h"
#include "mc/detail/str.h"

namespace mc::jax_engine {
namespace {

// StableHLO's inverse transforms carry the factor 1/n, the primitive has none.
void lower_fft(const Lower& l) {
  Hlo& h = l.h;
  const auto& a = l.as<FftAttrs>();
  constexpr const char* kTypes[] = {"FFT", "IFFT", "RFFT", "IRFFT"};
  if (l.out[0].shape.numel() == 0) return l.give(h.whole(l.out[0], 0));
  const Val y =
      h.op("stablehlo.fft", {l.x()}, l.out[0],
           cat("fft_type = #stablehlo<fft_type ", kTypes[a.kind], ">, fft_length = array<i64: ", a.n, ">"));
  const bool inverse = a.kind == FftAttrs::Inverse || a.kind == FftAttrs::ToReal;
  if (!inverse) return l.give(y);
  const auto n = static_cast<double>(a.n);
  if (!is_complex(l.out[0].dtype)) return l.give(h.mul(y, h.filled(y.aval, n)));
  const Aval part{y.shape(), real_dtype(y.dtype())};
  const Val count = h.filled(part, n);
  l.give(
      h.op("stablehlo.complex",
           {h.mul(h.op("stablehlo.real", {y}, part), count), h.mul(h.op("stablehlo.imag", {y}, part), count)},
           l.out[0]));
}

constexpr LowerRow kRows[] = {{Op::Fft, lower_fft}};

}  // namespace

std::span<const LowerRow> fft_rows() { return kRows; }

}  // namespace mc::jax_engine
