#include "backends/numpy/simd/dispatch.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "mc/error.h"

using namespace mc;
using namespace mc::simd;

// The first call in this program, so that MC_SIMD is read here.
TEST(Dispatch, UnknownNameInEnvironmentIsRefusedWithTheValidOnes) {
  setenv("MC_SIMD", "avx9000", 1);
  try {
    active_isa();
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::InvalidArgument);
    EXPECT_EQ(e.where(), "MC_SIMD");
    EXPECT_NE(e.message().find("avx9000"), std::string::npos);
    EXPECT_NE(e.next().find("scalar"), std::string::npos);
    EXPECT_NE(e.next().find(isa_name(best_isa())), std::string::npos);
  }
  setenv("MC_SIMD", "scalar", 1);
  EXPECT_EQ(active_isa(), Isa::Scalar);
}

TEST(Dispatch, ForcesAndRefuses) {
  for (Isa isa : {Isa::Scalar, Isa::Avx2, Isa::Avx512}) {
    if (isa <= best_isa()) {
      set_isa(isa);
      EXPECT_EQ(active_isa(), isa);
    } else {
      EXPECT_THROW(set_isa(isa), Error);
    }
  }
  EXPECT_STREQ(isa_name(Isa::Scalar), "scalar");
  EXPECT_STREQ(isa_name(Isa::Avx2), "avx2");
  EXPECT_STREQ(isa_name(Isa::Avx512), "avx512");
}
