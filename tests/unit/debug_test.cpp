// MC_DEBUG=1: errors name the operation and the function of the program that built it.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/debug.h"
#include "mc/mc.h"
#include "runtime/registry.h"  // linked to libmodelcypher, as a user's program is

#define USER __attribute__((noinline, visibility("default")))

namespace mc {

const bool debug = [] {
  setenv("MC_DEBUG", "1", 1);
  return true;
}();

// What a user writes.
USER Array user_takes_a_logarithm(const Array& x) {
  const Array y = log(x);
  return y + 1;
}
USER Array user_inverts(const Array& x) {
  const Array y = inv(x);
  return y * 2;
}

namespace {

template <class F>
Error error_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(ErrorCode::Internal, "");
}
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Debug, ErrorNamesOperationAndTheCallersFunction) {
  const Error e = error_of([] { user_takes_a_logarithm(Array({1.0f, -1.0f}, {2})); });
  EXPECT_EQ(e.code(), ErrorCode::NotFinite);
  EXPECT_EQ(e.where(), "log");
  EXPECT_TRUE(has(e.message(), "log made a NaN")) << e.message();
  EXPECT_TRUE(has(e.message(), "built by mc::user_takes_a_logarithm(mc::Array const&)+0x")) << e.message();
  EXPECT_TRUE(has(e.message(), "debug_test")) << e.message();
}

TEST(Debug, TheOffsetIsWhatAddr2lineTakes) {
  const Error e = error_of([] { user_takes_a_logarithm(Array({-1.0f}, {1})); });
  const std::string next = e.next();
  const size_t begin = next.find("`addr2line");
  ASSERT_NE(begin, std::string::npos) << next;
  const std::string command = next.substr(begin + 1, next.find('`', begin + 1) - begin - 1);
  if (std::system("command -v addr2line >/dev/null 2>&1") != 0) GTEST_SKIP() << "no addr2line here";
  FILE* out = popen(command.c_str(), "r");
  ASSERT_NE(out, nullptr);
  std::array<char, 512> line{};
  ASSERT_NE(fgets(line.data(), line.size(), out), nullptr);
  pclose(out);
  EXPECT_TRUE(has(line.data(), "user_takes_a_logarithm")) << line.data();
}

TEST(Debug, OtherErrorsOfEvaluationAreLocatedToo) {
  const Error e = error_of([] { user_inverts(zeros({2, 2})); });
  EXPECT_EQ(e.code(), ErrorCode::SingularMatrix);
  EXPECT_TRUE(has(e.message(), "user_inverts")) << e.message();
}

// Inside a gradient nodes are evaluated later, many at once: the one at fault is named, not the last one.
TEST(Debug, ChainsThatWereBuiltLazilyRunOneByOne) {
  const Function f = [](const Arrays& in) { return Arrays{sum(exp(user_takes_a_logarithm(in[0])) * 2)}; };
  const Error e = error_of([&] { eval(value_and_grad(f)({Array({-1.0f}, {1})}).first); });
  EXPECT_EQ(e.where(), "log");
  EXPECT_TRUE(has(e.message(), "user_takes_a_logarithm")) << e.message();
}

TEST(Debug, ResultsAreThoseOfOrdinaryRuns) {
  const Array x({1.0f, 2.0f, 3.0f, 4.0f}, {2, 2});
  EXPECT_EQ(user_inverts(x).to_vector<float>().size(), 4u);
  EXPECT_EQ(compile([](const Arrays& in) { return Arrays{in[0] * 2 + 1}; })({x})[0].to_vector<float>(),
            (std::vector<float>{3, 5, 7, 9}));
  EXPECT_EQ(vmap([](const Arrays& in) { return Arrays{sum(in[0])}; })({x})[0].to_vector<float>(),
            (std::vector<float>{3, 7}));
  // A NaN that was there before is not the operation's doing.
  EXPECT_TRUE(std::isnan((Array({NAN}, {1}) + 1).item<float>()));
  const Error e = error_of([] { vmap([](const Arrays& in) { return Arrays{in[0].eval()}; })({ones({2})}); });
  EXPECT_TRUE(has(e.message(), "has no value yet")) << e.message();
}

}  // namespace
}  // namespace mc
