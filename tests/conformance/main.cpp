// mc_conformance: the conformance suite of an engine, made from the table of primitives. Runs what needs no
// oracle (gradients, batching, compilation, donation, guards) and writes down the rest for check.py.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <string_view>

#include "checks.h"
#include "mc/device.h"
#include "mc/system.h"

namespace mc::conformance {
namespace {

constexpr const char* kHelp =
    R"(usage: mc_conformance [--backend ENGINE] [--filter TEXT] [--mode M,M] [--seed N] [--dump DIR] [--exact]
                      [--per-program N] [--sample K] [--list]

  --backend ENGINE  the engine (default numpy)
  --filter TEXT     only cases whose name holds TEXT; a whole name runs that case alone with the same numbers
  --mode M,M        fwd, dec (what a fused operation decomposes into), vjp, vmap, compile, donate (default: all)
  --seed N          another draw of all values (default 0)
  --dump DIR        writes fwd and dec to DIR/cases.jsonl and DIR/data.bin, for check.py
  --exact           compiled and donated results must have the bits of eager ones
  --per-program N   fwd and dec: so many cases are one program (default 1), for engines that compile long
  --sample K        every K-th case only, by a number made of its name and the seed
  --list            prints the names and stops
exit: 0 all passed, 3 a case failed, 2 usage)";

struct Options {
  std::string backend = "numpy", filter, dump, modes = "fwd,dec,vjp,vmap,compile,donate";
  uint64_t seed = 0;
  bool exact = false, list = false;
  size_t per_program = 1, sample = 1;
};

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string_view a = argv[i];
    auto value = [&]() -> std::string {
      if (i + 1 >= argc) {
        std::cerr << "mc_conformance: " << a << " needs a value\n";
        std::exit(2);
      }
      return argv[++i];
    };
    if (a == "--backend")
      o.backend = value();
    else if (a == "--filter")
      o.filter = value();
    else if (a == "--mode")
      o.modes = value();
    else if (a == "--seed")
      o.seed = std::strtoull(value().c_str(), nullptr, 10);
    else if (a == "--per-program")
      o.per_program = std::max<size_t>(1, std::strtoull(value().c_str(), nullptr, 10));
    else if (a == "--sample")
      o.sample = std::max<size_t>(1, std::strtoull(value().c_str(), nullptr, 10));
    else if (a == "--dump")
      o.dump = value();
    else if (a == "--exact")
      o.exact = true;
    else if (a == "--list")
      o.list = true;
    else {
      (a == "--help" ? std::cout : std::cerr) << kHelp << "\n";
      std::exit(a == "--help" ? 0 : 2);
    }
  }
  return o;
}

std::string quoted(std::string_view s) {
  std::string out = "\"";
  for (char ch : s) {
    if (ch == '"' || ch == '\\') out += '\\';
    out += ch;
  }
  return out + "\"";
}

// Inputs and outputs of forward cases, one line of JSON each, the numbers in one file.
class Dump {
 public:
  explicit Dump(const std::string& dir)
      : cases_(dir + "/cases.jsonl"), data_(dir + "/data.bin", std::ios::binary) {
    if (!cases_ || !data_) {
      std::cerr << "mc_conformance: can't write to " << dir << "\n";
      std::exit(1);
    }
  }
  void add(const std::string& name, const Case& c, const Arrays& in, const Arrays& out) {
    cases_ << "{\"name\":" << quoted(name) << ",\"oracle\":" << quoted(c.sample.oracle)
           << ",\"c\":" << c.def->samples.c << ",\"in\":" << list(in) << ",\"out\":" << list(out) << "}\n";
  }

 private:
  std::string list(const Arrays& arrays) {
    std::string s = "[";
    for (const Array& a : arrays) {
      std::vector<char> bytes(a.nbytes());
      if (!bytes.empty()) a.to_bytes(bytes.data());
      data_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
      std::string shape;
      for (int64_t d : a.shape()) shape += cat(shape.empty() ? "" : ",", d);
      s += cat(s.size() > 1 ? "," : "", "[", quoted(dtype_name(a.dtype())), ",[", shape, "],", at_, "]");
      at_ += bytes.size();
    }
    return s + "]";
  }
  std::ofstream cases_, data_;
  size_t at_ = 0;
};

// Whether the engine says that it takes subnormal numbers for zeros.
bool flushes(Backend& backend, const Device& device) {
  const bool cpu = backend.devices().at(static_cast<size_t>(device.index)).kind == "cpu";
  for (const auto& [name, value] : backend.facts())
    if (name == "subnormals" && value.starts_with("flushed")) return cpu;
  return false;
}

// How many blocks were written around; 0 for engines that do not say.
long guard_faults(Backend& backend) {
  for (const auto& [name, value] : backend.facts())
    if (name == "guard faults") return std::strtol(value.c_str(), nullptr, 10);
  return 0;
}

int run(const Options& o) {
  const Device device = parse_device(o.backend);
  set_default_device(device);
  Backend& backend = *device.backend;
  int left_out = 0;
  const std::vector<Case> cases = all_cases(backend, left_out);
  const Context context{backend, o.seed, o.exact};
  std::unique_ptr<Dump> dump;
  if (!o.dump.empty()) dump = std::make_unique<Dump>(o.dump);
  std::map<std::string, std::pair<int, int>> count;  // by mode: passed, failed
  long faults = guard_faults(backend);
  auto wanted = [&](const char* mode, const std::string& name) {
    return (',' + o.modes + ',').find(cat(',', mode, ',')) != std::string::npos &&
           name.find(o.filter) != std::string::npos &&
           (o.sample == 1 || seed_of(name, o.seed + 1) % o.sample == 0);
  };
  auto settle = [&](const char* mode, const std::string& name, std::string why) {
    if (const long now = guard_faults(backend); now != faults && why.empty()) {
      why = "bytes around a buffer were overwritten";
      faults = now;
    }
    auto& [passed, failed] = count[mode];
    ++(why.empty() ? passed : failed);
    if (!why.empty()) std::cout << "FAIL " << name << "  " << why << "\n";
  };
  auto reason = [&](auto f) -> std::string {
    try {
      return f();
    } catch (const std::exception& e) {
      return cat("threw: ", e.what());
    }
  };
  // Forward cases whose program waits for others to be part of it.
  struct Waiting {
    const char* mode;
    std::string name;
    const Case* c;
    Inputs in;
    Arrays out;
  };
  std::vector<Waiting> waiting;
  // The operands once more, made by the host engine.
  auto host_views = [&](const Case& c) {
    const DeviceScope scope(parse_device("numpy"));
    const Inputs in = draw_inputs(c, seed_of(c.name("fwd", backend), o.seed));
    Arrays views = in.view(in.stored);
    eval(views);
    return views;
  };
  auto flush = [&] {
    Arrays all;
    for (const Waiting& w : waiting) all.insert(all.end(), w.out.begin(), w.out.end());
    // One that fails takes the others along: then each is a program of its own.
    reason([&] { return eval(all), std::string(); });
    for (Waiting& w : waiting)
      settle(w.mode, w.name, reason([&] {
               eval(w.out);
               if (dump) dump->add(w.name, *w.c, host_views(*w.c), w.out);
               return std::string();
             }));
    waiting.clear();
  };
  auto attempt = [&](const char* mode, const Case& c, auto f) {
    const std::string name = c.name(mode, backend);
    if (!wanted(mode, name)) return;
    if (o.list)
      std::cout << name << "\n";
    else
      f(name);
  };
  for (const Case& c : cases) {
    auto recorded = [&](const char* mode, Arrays (*compute)(const Case&, const Inputs&)) {
      attempt(mode, c, [&](const std::string& name) {
        const std::string why = reason([&] {
          // fwd and dec see the same numbers, so that they can be compared.
          Waiting w{mode, name, &c, draw_inputs(c, seed_of(c.name("fwd", backend), o.seed)), {}};
          w.out = compute(c, w.in);
          waiting.push_back(std::move(w));
          return std::string();
        });
        if (!why.empty()) settle(mode, name, why);
        if (waiting.size() >= o.per_program) flush();
      });
    };
    recorded("fwd", forward);
    if (c.def->decompose) recorded("dec", decomposed);
    for (const Check& check : checks())
      if (check.applies(c))
        attempt(check.mode, c, [&](const std::string& name) {
          settle(check.mode, name, reason([&] { return check.run(c, context); }));
        });
  }
  flush();
  if (o.list) return 0;
  int failures = 0;
  for (const auto& [mode, n] : count) {
    std::cout << mode << ": " << n.first << " passed, " << n.second << " failed\n";
    failures += n.second;
  }
  std::cout << "engine " << backend.name() << ", seed " << o.seed << ", " << left_out
            << " cases left out for dtypes that the engine lacks\n";
  if (flushes(backend, device)) std::cout << "subnormal numbers are flushed to zero\n";
  return failures ? 3 : 0;
}

}  // namespace
}  // namespace mc::conformance

int main(int argc, char** argv) {
  setenv("MC_GUARD", "1", 0);  // before the engine's first allocation
  try {
    return mc::conformance::run(mc::conformance::parse(argc, argv));
  } catch (const std::exception& e) {
    std::cerr << "mc_conformance: " << e.what() << "\n";
    return 1;
  }
}
