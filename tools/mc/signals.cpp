#include "signals.h"

#include <unistd.h>

#include <csignal>
#include <initializer_list>

#include "mc/interrupt.h"

namespace mc::tool {
namespace {
volatile std::sig_atomic_t last_signal = 0;

void on_signal(int signal) {
  if (last_signal) _exit(128 + signal);
  last_signal = signal;
  request_interrupt();
}
}  // namespace

void install_signals() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  // A shell without job control starts background jobs with SIGINT ignored; that stays so.
  for (int s : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction old = {};
    sigaction(s, nullptr, &old);
    if (old.sa_handler != SIG_IGN) sigaction(s, &action, nullptr);
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file over the limit is a write that fails
}

bool stopped_by_ctrl_c() { return last_signal == SIGINT; }
void forget_signal() {
  last_signal = 0;
  clear_interrupt();
}

int interrupt_exit_code() { return last_signal ? 128 + last_signal : 130; }

int exit_by_broken_pipe() {
  std::signal(SIGPIPE, SIG_DFL);
  std::raise(SIGPIPE);
  return 128 + SIGPIPE;
}
}  // namespace mc::tool
