// Where PJRT plugins are sought, and the clients that came of them.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backends/jax/pjrt.h"

namespace mc::jax_engine {

using Facts = std::vector<std::pair<std::string, std::string>>;

// One device of the engine: a client and its number there.
struct EngineDevice {
  Client* client;
  int number;
};

struct Clients {
  std::vector<EngineDevice> devices;  // accelerators first
  Facts facts;                        // what was sought, found and refused
  int process = 0;
};
// Opens them at the first call; throws BackendMissing when there is no plugin that works.
const Clients& clients();
// XLA's threads do not live in a forked process.
void refuse_after_fork();

}  // namespace mc::jax_engine
