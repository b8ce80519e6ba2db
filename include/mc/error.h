// Errors of the library. Every failure that a caller can see is an mc::Error; besides it, only what your own
// functions and callbacks throw comes out of the call that ran them, as it is.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>

#include "mc/export.h"

namespace mc {

// One enumerator per row of errors.def.
enum class ErrorCode : uint16_t {
#define MC_ERROR(name, id, summary, fix) name,
#include "mc/errors.def"
#undef MC_ERROR
};

// What went wrong (`message`), where (`where`: a file, an option, an op; may be empty) and what to do
// (`next`).
class MC_API Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message, std::string where = {}, std::string next = {});
  ErrorCode code() const { return code_; }
  // The stable identifier, for example "MC-E0201".
  std::string_view id() const;
  const std::string& message() const { return message_; }
  const std::string& where() const { return where_; }
  // The next step for the user: the error's own, else the general one of its code.
  std::string next() const;
  // "where: message" in one line.
  const char* what() const noexcept override { return what_.c_str(); }

 private:
  ErrorCode code_;
  std::string message_, where_, next_, what_;
};

struct ErrorInfo {
  const char *name, *id, *summary, *fix;
};
MC_API const ErrorInfo& error_info(ErrorCode code);
// Number of rows of errors.def; codes are dense from 0.
MC_API int error_count();

}  // namespace mc
