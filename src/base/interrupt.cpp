#include "mc/interrupt.h"

#include <atomic>

#include "mc/error.h"

namespace mc {
namespace {
std::atomic<bool> asked{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // set in a signal handler
}  // namespace

void request_interrupt() noexcept { asked.store(true, std::memory_order_relaxed); }
void clear_interrupt() noexcept { asked.store(false, std::memory_order_relaxed); }
bool interrupted() noexcept { return asked.load(std::memory_order_relaxed); }
void check_interrupt() {
  if (interrupted()) throw Error(ErrorCode::Interrupted, "stopped before the work was done");
}
}  // namespace mc
