#include "backends/numpy/simd/dispatch.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>

#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc::simd {
namespace {

constexpr Isa kAll[] = {Isa::Scalar, Isa::Avx2, Isa::Avx512};

Isa detect() {
#if defined(__x86_64__)
  // These builtins also check, by XGETBV, that the operating system saves the wide registers.
  __builtin_cpu_init();
  unsigned a = 0, b = 0, c = 0, d = 0;  // clang 14's builtin knows no "f16c"
  const bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && f16c;
  if (!avx2) return Isa::Scalar;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512vnni");
  return avx512 ? Isa::Avx512 : Isa::Avx2;
#else
  return Isa::Scalar;
#endif
}

std::string available() {
  std::string out;
  for (Isa isa : kAll) {
    if (isa > best_isa()) break;
    if (!out.empty()) out += ", ";
    out += isa_name(isa);
  }
  return out;
}

Isa check(Isa isa, const char* where) {
  if (isa > best_isa())
    throw Error(ErrorCode::InvalidArgument, cat("this machine has no ", isa_name(isa)), where,
                cat("use one of: ", available()));
  return isa;
}

Isa initial() {
  const char* env = std::getenv("MC_SIMD");
  if (!env || !*env) return best_isa();
  for (Isa isa : kAll)
    if (std::strcmp(env, isa_name(isa)) == 0) return check(isa, "MC_SIMD");
  throw Error(ErrorCode::InvalidArgument, cat("unknown instruction set '", env, "'"), "MC_SIMD",
              cat("use one of: ", available()));
}

std::atomic<int> active{-1};

}  // namespace

Isa best_isa() {
  static const Isa best = detect();
  return best;
}

Isa active_isa() {
  const int isa = active.load(std::memory_order_relaxed);
  if (isa >= 0) return static_cast<Isa>(isa);
  const Isa first = initial();
  int unset = -1;
  active.compare_exchange_strong(unset, static_cast<int>(first));
  return static_cast<Isa>(active.load());
}

void set_isa(Isa isa) { active.store(static_cast<int>(check(isa, "set_isa"))); }

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::Scalar: return "scalar";
    case Isa::Avx2: return "avx2";
    case Isa::Avx512: return "avx512";
  }
  return "unknown";
}

}  // namespace mc::simd
