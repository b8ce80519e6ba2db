// What tests of tokenizers share: checks of errors.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "mc/error.h"

namespace mc {

inline Error error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  }
  return Error(ErrorCode::Internal, "nothing was thrown");
}
#define EXPECT_ERROR(statement, wanted, part)                                                     \
  do {                                                                                            \
    Error e_ = error_of([&] { statement; });                                                      \
    EXPECT_EQ(e_.code(), ErrorCode::wanted) << e_.what();                                         \
    EXPECT_NE(std::string(e_.what()).find(part), std::string::npos) << e_.what() << "\n" << part; \
  } while (0)

}  // namespace mc
