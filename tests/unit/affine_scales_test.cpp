// Affine weights whose scales are narrow: kernel, decomposition and gradient see the same float32 weight.
#include "mc/fast.h"
#include "mc/quantize.h"
#include "mc/random.h"
#include "prims/attrs.h"
#include "prims/op_def.h"
#include "prims_util.h"

namespace mc {
namespace {
using namespace test;

QTensor narrow_weight(Dtype d, int bits) {
  return quantize_affine(astype(draw({48, 256}, bits, -2, 2), d), 64, bits);
}
// scale·q + bias in float32 of scales that were widened.
Array float_weight(const QTensor& w) {
  QTensor wide = w;
  wide.parts[1] = astype(w.parts[1], Dtype::F32);
  wide.parts[2] = astype(w.parts[2], Dtype::F32);
  return dequantize(wide);
}
void expect_same_bits(const Array& a, const Array& b) {
  ASSERT_EQ(a.shape().str(), b.shape().str());
  ASSERT_EQ(dtype_name(a.dtype()), dtype_name(b.dtype()));
  std::vector<std::byte> x(a.nbytes()), y(b.nbytes());
  a.to_bytes(x.data());
  b.to_bytes(y.data());
  EXPECT_EQ(x, y);
}

TEST(AffineScales, KernelAndDecompositionAgreeInEveryBit) {
  for (Dtype d : {Dtype::F16, Dtype::BF16, Dtype::F32})
    for (int bits : {2, 3, 4, 5, 6, 8})
      for (Dtype dx : {Dtype::F32, Dtype::F16, Dtype::BF16})
        for (int64_t m : {1, 5, 12}) {
          SCOPED_TRACE(cat(dtype_name(d), " scales, ", bits, " bits, x ", dtype_name(dx), ", ", m, " rows"));
          const QTensor w = narrow_weight(d, bits);
          const Array x = astype(draw({m, 256}, 3), dx);
          const Array y = quantized_matmul(x, w);
          expect_same_bits(y, astype(matmul(astype(x, Dtype::F32), transpose(float_weight(w))), dx));
          const Arrays in{x, w.parts[0], w.parts[1], w.parts[2]};
          const QuantAttrs attrs{static_cast<int>(QTensor::Kind::Affine), 0, bits, 64, 48, 256, false};
          expect_same_bits(y, op_def(Op::QuantizedMatmul).decompose(in, attrs)[0]);
        }
}

TEST(AffineScales, GradientsSeeTheSameWeight) {
  for (Dtype d : {Dtype::F16, Dtype::BF16}) {
    const QTensor w = narrow_weight(d, 4);
    const Array x = astype(draw({3, 256}, 4), Dtype::F32), g = astype(draw({3, 48}, 5), Dtype::F32);
    const auto packed = [&](const Arrays& in) { return Arrays{quantized_matmul(in[0], w)}; };
    const auto plain = [&](const Arrays& in) { return Arrays{matmul(in[0], transpose(float_weight(w)))}; };
    // The same product, whose operands may lie in another order of the same chain.
    expect_near(vjp(packed, {x}, {g}).second[0], vjp(plain, {x}, {g}).second[0], 1e-6);
  }
}

TEST(AffineScales, DequantizedWeightsKeepTheDtypeOfTheirScales) {
  const QTensor w = narrow_weight(Dtype::BF16, 4);
  expect_aval(dequantize(w), {48, 256}, Dtype::BF16);
  expect_same_bits(dequantize(w), astype(float_weight(w), Dtype::BF16));
}

// Root mean square error of N(0, 1) relative to the weight. Symmetric groups of 32 leave 0.0973 with 4 bits
// and 0.0054 with 8; a group with a bias of its own has no worse a step.
TEST(AffineScales, RoundingLeavesLessThanSymmetricGroupsDo) {
  const Array w = random::normal({512, 512}, Dtype::F32, 0, 1, random::key(7));
  const auto relative_error = [&](int bits) {
    const V a = list(w), b = list(dequantize(quantize_affine(w, 32, bits)));
    double error = 0, whole = 0;
    for (size_t i = 0; i < a.size(); ++i) error += (a[i] - b[i]) * (a[i] - b[i]), whole += a[i] * a[i];
    return std::sqrt(error / whole);
  };
  const double four = relative_error(4), eight = relative_error(8);
  EXPECT_LT(four, 0.0973);
  EXPECT_LT(eight, 0.0054);
  // A step is the range over 2^bits - 1, and 32 normal numbers span 4.14 on average: 4.14 / 15 / sqrt(12).
  EXPECT_GT(four, 0.9 * 4.14 / 15 / std::sqrt(12.0));
  EXPECT_NEAR(four / eight, 255.0 / 15, 2);
}

}  // namespace
}  // namespace mc
