#include <gtest/gtest.h>

#include <limits>
#include <sstream>

#include "mc/mc.h"

namespace {

using namespace mc;

std::string shown(const Array& a) {
  std::ostringstream out;
  out << a;
  return out.str();
}

TEST(Print, AsNumPyDoes) {
  EXPECT_EQ(shown(Array({1, -20, 3}, {3})), "array([  1, -20,   3], dtype=int32)");
  EXPECT_EQ(shown(arange(4).eval()), shown(arange(4)));
  EXPECT_EQ(shown(Array({1.f, 2.5f, 0.1f, std::numeric_limits<float>::quiet_NaN()}, {2, 2})),
            "array([[  1, 2.5],\n       [0.1, nan]], dtype=float32)");
  EXPECT_EQ(shown(Array(true)), "array(True, dtype=bool)");
  EXPECT_EQ(shown(zeros({0, 3})), "array([], dtype=float32, shape=(0, 3))");
  EXPECT_EQ(shown(Array()), "array()");
  EXPECT_EQ(to_string(Array({std::complex<float>(1, -2)}, {1})), "[1-2j]");
}

TEST(Print, HalvesInTheirOwnDigits) {
  EXPECT_EQ(to_string(astype(Array({0.1f}, {1}), Dtype::F16)), "[0.1]");
  EXPECT_EQ(to_string(astype(Array({3.14159f}, {1}), Dtype::BF16)), "[3.14]");
  EXPECT_EQ(to_string(astype(Array({65504.f, 0.f}, {2}), Dtype::F16)), "[65500,     0]");
}

TEST(Print, LongOnesShowTheirEnds) {
  EXPECT_EQ(to_string(arange(2000)), "[   0,    1,    2, ..., 1997, 1998, 1999]");
  const std::string wide = to_string(zeros({1000, 2}));
  EXPECT_EQ(wide, "[[0, 0],\n [0, 0],\n [0, 0],\n ...,\n [0, 0],\n [0, 0],\n [0, 0]]");
  EXPECT_EQ(to_string(arange(5), {.threshold = 4, .edge = 1}), "[0, ..., 4]");
}

TEST(Refused, EmptyFunctionsAndNullMemory) {
  const Function none;
  EXPECT_THROW(compile(none), Error);
  EXPECT_THROW(grad(none), Error);
  EXPECT_THROW(vmap(none), Error);
  EXPECT_THROW(checkpoint(none), Error);
  EXPECT_THROW(vjp(none, {ones({2})}, {ones({2})}), Error);
  EXPECT_THROW(Array::wrap(nullptr, {4}, Dtype::F32, nullptr), Error);
  EXPECT_EQ(Array::wrap(nullptr, {0}, Dtype::F32, nullptr).size(), 0);
}

TEST(Refused, NegativePadding) {
  EXPECT_THROW(pad(arange(5), {{-1, 0}}), Error);
  const Function f = [](const Arrays& a) { return Arrays{sum(square(pad(a[0], {{1, 2}})))}; };
  EXPECT_EQ(to_string(grad(f)({ones({3})})[0]), "[2, 2, 2]");
}

}  // namespace
