#include "mc/error.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "mc/interrupt.h"

namespace mc {
namespace {

TEST(Error, TellsWhatWhereAndNext) {
  const Error plain(ErrorCode::FileNotFound, "there is no such file", "a.gguf");
  EXPECT_EQ(plain.id(), "MC-E0201");
  EXPECT_STREQ(plain.what(), "a.gguf: there is no such file");
  EXPECT_EQ(plain.next(), error_info(ErrorCode::FileNotFound).fix);
  EXPECT_EQ(Error(ErrorCode::FileNotFound, "x", "", "do y").next(), "do y");
  EXPECT_STREQ(Error(ErrorCode::FileNotFound, "x").what(), "x");
}

TEST(Error, RowsAreCompleteAndIdsUnique) {
  std::set<std::string> ids;
  for (int i = 0; i < error_count(); ++i) {
    const ErrorInfo& row = error_info(static_cast<ErrorCode>(i));
    EXPECT_TRUE(ids.insert(row.id).second) << row.id;
    EXPECT_EQ(std::string(row.id).substr(0, 4), "MC-E");
    EXPECT_FALSE(std::string(row.summary).empty());
    EXPECT_FALSE(std::string(row.fix).empty());
  }
}

TEST(Interrupt, IsAskedForOnceAndTakenBack) {
  EXPECT_FALSE(interrupted());
  EXPECT_NO_THROW(check_interrupt());
  request_interrupt();
  EXPECT_TRUE(interrupted());
  try {
    check_interrupt();
    FAIL() << "nothing was thrown";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::Interrupted);
  }
  clear_interrupt();
  EXPECT_FALSE(interrupted());
}

}  // namespace
}  // namespace mc
