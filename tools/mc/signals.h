// Ctrl-C and its like.
#pragma once

namespace mc::tool {
// SIGINT and SIGTERM ask the library to stop at the next step; a second one ends the process at once. SIGPIPE
// is ignored: output.h reports a closed pipe.
void install_signals();
// Whether it was Ctrl-C that asked, and nothing that asks for the end of the process.
bool stopped_by_ctrl_c();
// As if nothing had asked: what a Ctrl-C stopped was one part of the work.
void forget_signal();
// 128 + the signal that asked, 130 if none did.
int interrupt_exit_code();
// Ends the process the way a closed pipe ends other programs.
int exit_by_broken_pipe();
}  // namespace mc::tool
