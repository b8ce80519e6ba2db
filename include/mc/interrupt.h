// Stopping long work from outside, for example by Ctrl-C. Loops of the library ask between steps.
#pragma once

#include "mc/export.h"

namespace mc {
// Asks running work to stop; may be called from a signal handler and from any thread.
MC_API void request_interrupt() noexcept;
// Takes the request back.
MC_API void clear_interrupt() noexcept;
MC_API bool interrupted() noexcept;
// Throws Interrupted if asked to stop. Called where nothing is half done.
MC_API void check_interrupt();
}  // namespace mc
