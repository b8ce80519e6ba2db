#include "mc/error.h"

#include <array>

namespace mc {
namespace {
constexpr ErrorInfo kErrors[] = {
#define MC_ERROR(name, id, summary, fix) {#name, id, summary, fix},
#include "mc/errors.def"
#undef MC_ERROR
};
}  // namespace

Error::Error(ErrorCode code, std::string message, std::string where, std::string next)
    : code_(code), message_(std::move(message)), where_(std::move(where)), next_(std::move(next)) {
  what_ = where_.empty() ? message_ : where_ + ": " + message_;
}

std::string_view Error::id() const { return error_info(code_).id; }

std::string Error::next() const { return next_.empty() ? error_info(code_).fix : next_; }

const ErrorInfo& error_info(ErrorCode code) { return kErrors[static_cast<size_t>(code)]; }

int error_count() { return static_cast<int>(std::size(kErrors)); }

}  // namespace mc
