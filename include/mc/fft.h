// Discrete Fourier transforms, with the names and conventions of the array API standard's fft extension.
#pragma once

#include <optional>

#include "mc/array.h"

namespace mc {

// Where the factor 1/n stands: on the inverse transform, as 1/√n on both, or on the forward one.
enum class FftNorm : uint8_t { Backward, Ortho, Forward };

// Along one axis, of which n elements are read: cut, or filled with zeros (n defaults to its length). Real
// input becomes complex; float32 and complex64 give complex64, float64 and complex128 give complex128; each
// is computed in float64 on the host engine. Throws ShapeMismatch for n < 1, DtypeMismatch for rfft of
// complex numbers.
MC_API Array fft(const Array& a, std::optional<int64_t> n = {}, int axis = -1,
                 FftNorm norm = FftNorm::Backward);
MC_API Array ifft(const Array& a, std::optional<int64_t> n = {}, int axis = -1,
                  FftNorm norm = FftNorm::Backward);
// Of real input: the n/2 + 1 terms that are not conjugates of others.
MC_API Array rfft(const Array& a, std::optional<int64_t> n = {}, int axis = -1,
                  FftNorm norm = FftNorm::Backward);
// Back to n real numbers (default 2·(length - 1)); imaginary parts that a real signal can't have are ignored.
MC_API Array irfft(const Array& a, std::optional<int64_t> n = {}, int axis = -1,
                   FftNorm norm = FftNorm::Backward);
// Of a signal with Hermitian symmetry, given by its first half: n real numbers; and its inverse.
MC_API Array hfft(const Array& a, std::optional<int64_t> n = {}, int axis = -1,
                  FftNorm norm = FftNorm::Backward);
MC_API Array ihfft(const Array& a, std::optional<int64_t> n = {}, int axis = -1,
                   FftNorm norm = FftNorm::Backward);
// Along several axes (default: the last s.ndim() ones, or all), with the lengths s.
MC_API Array fftn(const Array& a, std::optional<Shape> s = {}, std::optional<Axes> axes = {},
                  FftNorm norm = FftNorm::Backward);
MC_API Array ifftn(const Array& a, std::optional<Shape> s = {}, std::optional<Axes> axes = {},
                   FftNorm norm = FftNorm::Backward);
// The real transform is the last axis'.
MC_API Array rfftn(const Array& a, std::optional<Shape> s = {}, std::optional<Axes> axes = {},
                   FftNorm norm = FftNorm::Backward);
MC_API Array irfftn(const Array& a, std::optional<Shape> s = {}, std::optional<Axes> axes = {},
                    FftNorm norm = FftNorm::Backward);
// Frequencies of the terms of fft and rfft of n samples that are d apart.
MC_API Array fftfreq(int64_t n, double d = 1.0, Dtype dtype = Dtype::F32);
MC_API Array rfftfreq(int64_t n, double d = 1.0, Dtype dtype = Dtype::F32);
// The term of frequency 0 to the middle, and back; over all axes by default.
MC_API Array fftshift(const Array& a, std::optional<Axes> axes = {});
MC_API Array ifftshift(const Array& a, std::optional<Axes> axes = {});

}  // namespace mc
