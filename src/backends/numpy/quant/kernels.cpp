#include "backends/numpy/quant/kernels.h"

#include "backends/numpy/quant/tables.h"
#include "backends/numpy/simd/dispatch.h"

namespace mc::numpy::quant {
namespace {

struct Filled {
  GemvFn gemv[kForms];
  ExpandFn expand[kForms];
  GemvFn lifted[kForms];
  Kernels kernels;

  Filled(const FloatPair* blocks, const FloatPair* kblocks, const FloatPair* affine, SmallFn small,
         const FastRow* fast, QuantizeFn quantize) {
    for (int f = 0; f < kForms; ++f) {
      const FloatPair& pair = f < kQ4_K ? blocks[f] : f < kA2 ? kblocks[f - kQ4_K] : affine[f - kA2];
      gemv[f] = pair.gemv;
      expand[f] = pair.expand;
      lifted[f] = pair.lifted;
    }
    kernels = {gemv, expand, lifted, small, fast, quantize};
  }
};

}  // namespace

const Kernels& kernels() {
  static const Filled scalar(kBlocksScalar, kKBlocksScalar, kAffineScalar, kSmallScalar, kFastScalar,
                             kQuantizeScalar);
#if defined(__x86_64__)
  static const Filled avx2(kBlocksAvx2, kKBlocksAvx2, kAffineAvx2, kSmallAvx2, kFastAvx2, kQuantizeAvx2);
  static const Filled avx512(kBlocksAvx512, kKBlocksAvx512, kAffineAvx512, kSmallAvx512, kFastAvx512,
                             kQuantizeAvx512);
  switch (simd::active_isa()) {
    case simd::Isa::Avx512: return avx512.kernels;
    case simd::Isa::Avx2: return avx2.kernels;
    case simd::Isa::Scalar: break;
  }
#endif
  return scalar.kernels;
}

}  // namespace mc::numpy::quant
