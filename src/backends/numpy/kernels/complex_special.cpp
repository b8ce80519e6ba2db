#include "backends/numpy/kernels/complex_special.h"

#include <cmath>
#include <limits>

namespace mc::kernels {
namespace {

using std::atan2, std::copysign, std::cos, std::fabs, std::sin;
constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

#define MC_SPECIAL inline
#define MC_SHARED_CODE(...) __VA_ARGS__
#include "prims/complex_special.h"
#undef MC_SHARED_CODE
#undef MC_SPECIAL

}  // namespace

const SpecialFn kSpecialExp = special_exp, kSpecialExpm1 = special_expm1, kSpecialLog = special_log,
                kSpecialLog2 = special_log2, kSpecialLog1p = special_log, kSpecialSqrt = special_sqrt,
                kSpecialSin = special_sin, kSpecialCos = special_cos, kSpecialTan = special_tan,
                kSpecialSinh = special_sinh, kSpecialCosh = special_cosh, kSpecialTanh = special_tanh,
                kSpecialArcsin = special_asin, kSpecialArccos = special_acos, kSpecialArctan = special_atan;

}  // namespace mc::kernels
