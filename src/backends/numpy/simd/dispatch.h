// Which instruction set the host engine's kernels use: the best one that the CPU and the operating system
// support, or a weaker one that MC_SIMD or a test asks for. Results do not depend on it.
#pragma once

namespace mc::simd {

// Ordered: each set contains the ones before it. Avx2 means AVX2 + FMA + F16C; Avx512 means F, BW, DQ, VL and
// VNNI on top.
enum class Isa { Scalar, Avx2, Avx512 };

// The best set of this machine.
Isa best_isa();
// The set in use: best_isa(), unless MC_SIMD=scalar|avx2|avx512 or set_isa says otherwise. Throws mc::Error
// (InvalidArgument) when MC_SIMD names no set or one that this machine lacks.
Isa active_isa();
// Forces a set for the whole process (tests). Throws mc::Error when the machine lacks it.
void set_isa(Isa isa);
// "scalar", "avx2" or "avx512".
const char* isa_name(Isa isa);

}  // namespace mc::simd
