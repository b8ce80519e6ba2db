// Complex functions where a part is infinite or NaN.
#pragma once

namespace mc::kernels {

struct Z {
  double re, im;
};
using SpecialFn = Z (*)(double re, double im);
extern const SpecialFn kSpecialExp, kSpecialExpm1, kSpecialLog, kSpecialLog2, kSpecialLog1p, kSpecialSqrt,
    kSpecialSin, kSpecialCos, kSpecialTan, kSpecialSinh, kSpecialCosh, kSpecialTanh, kSpecialArcsin,
    kSpecialArccos, kSpecialArctan;

}  // namespace mc::kernels
