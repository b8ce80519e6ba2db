// Which engine computes when nobody says, and two of them in one process.
#include <gtest/gtest.h>

#include <set>

#include "mc/mc.h"
#include "mc/system.h"
#include "runtime/registry.h"

namespace mc {
namespace {

// An engine with devices and nothing else.
class Fake : public Backend {
 public:
  Fake(std::string name, std::vector<DeviceInfo> devices)
      : name_(std::move(name)), devices_(std::move(devices)) {}
  std::string_view name() const override { return name_; }
  std::vector<DeviceInfo> devices() override { return devices_; }
  bool has_dtype(Dtype) const override { return true; }
  Support supports(Op, std::span<const Aval>, const Attrs&) const override { return {}; }
  BufferPtr allocate(const Device&, size_t) override { return {}; }
  void upload(const Device&, const void*, const Value&, size_t) override {}
  void download(const Value&, void*, size_t) override {}
  Value adopt(const Device&, const Value&) override { return {}; }
  std::unique_ptr<Executable> compile(const Graph&, const CompileOptions&) override { return nullptr; }
  void synchronize(const Device&) override {}
  MemoryStats memory(const Device&, const MemoryRequest&) override { return {}; }
  std::vector<std::pair<std::string, std::string>> facts() override { return {}; }

 private:
  std::string name_;
  std::vector<DeviceInfo> devices_;
};

EngineRow row(const char* name, int rank, const char* kind = "", const char* signs = "", bool apple = false) {
  return {name, true, false, rank, "m", "w", "f", nullptr, kind, signs, apple};
}

struct Selecting : ::testing::Test {
  Fake host{"host", {{"cpu", "two cores", 0}}}, fast{"fast", {{"cpu", "c", 0}, {"gpu", "H1", 0}}},
      wide{"wide", {{"tpu", "v9", 0}, {"cpu", "c", 0}}}, fruit{"fruit", {{"gpu", "M1", 0}}},
      blind{"blind", {{"cpu", "c", 0}}};
  // Not in order of rank.
  std::vector<EngineRow> rows{row("host", 0), row("wide", 2, "tpu", "/dev/tpu"),
                              row("fast", 1, "gpu", "/dev/a:/dev/b"), row("fruit", 3, "gpu", "", true)};
  std::set<std::string> files, broken, loaded;
  bool apple = false;

  Selection choose() {
    Probe p;
    p.apple = apple;
    p.exists = [this](const std::string& f) { return files.count(f) > 0; };
    p.load = [this](const EngineRow& r) -> Backend& {
      loaded.insert(r.name);
      if (broken.count(r.name)) throw Error(ErrorCode::BackendMissing, "its library is not there");
      for (Backend* b : std::initializer_list<Backend*>{&host, &fast, &wide, &fruit})
        if (b->name() == r.name) return *b;
      return blind;
    };
    return choose_engine(rows, p);
  }
};

TEST_F(Selecting, WithoutASignNothingElseIsEvenLoaded) {
  const Selection s = choose();
  EXPECT_EQ(device_name(s.device), "host:0");
  EXPECT_EQ(loaded, std::set<std::string>{"host"});
  EXPECT_NE(s.why.find("no gpu or tpu was found"), std::string::npos) << s.why;
}

TEST_F(Selecting, ByRankAndTheKindOfDevice) {
  files = {"/dev/b", "/dev/tpu"};
  Selection s = choose();
  EXPECT_EQ(device_name(s.device), "fast:1");  // its GPU, not its CPU
  EXPECT_NE(s.why.find("its gpu answers (H1)"), std::string::npos) << s.why;
  EXPECT_EQ(loaded.count("wide"), 0u);
  files = {"/dev/tpu"};
  s = choose();
  EXPECT_EQ(device_name(s.device), "wide:0");
}

TEST_F(Selecting, WhatFailsIsToldAndPassedOver) {
  files = {"/dev/a", "/dev/tpu"};
  broken = {"fast"};
  EXPECT_EQ(device_name(choose().device), "wide:0");
  broken = {"fast", "wide"};
  const Selection s = choose();
  EXPECT_EQ(device_name(s.device), "host:0");
  EXPECT_NE(s.why.find("/dev/a is there, but its library is not there"), std::string::npos) << s.why;
  EXPECT_NE(s.why.find("/dev/tpu is there"), std::string::npos) << s.why;
}

TEST_F(Selecting, AnEngineWithoutTheDeviceIsNotTaken) {
  rows = {row("host", 0), row("blind", 1, "gpu", "/dev/a")};
  files = {"/dev/a"};
  const Selection s = choose();
  EXPECT_EQ(device_name(s.device), "host:0");
  EXPECT_NE(s.why.find("engine blind sees no gpu"), std::string::npos) << s.why;
}

TEST_F(Selecting, OnMacOsItsOwnComesFirst) {
  apple = true;
  EXPECT_EQ(device_name(choose().device), "fruit:0");
  broken = {"fruit"};
  const Selection s = choose();
  EXPECT_EQ(device_name(s.device), "host:0");
  EXPECT_NE(s.why.find("macOS is there, but its library"), std::string::npos) << s.why;
}

// Every engine of this build that answers, in one process: a value goes from the host to it and back in
// explicit copies, is computed with at both ends, and neither default nor mixing is silent.
TEST(TwoEngines, ExplicitCopiesInOneProcess) {
  int others = 0;
  for (const EngineRow& r : engine_rows()) {
    if (r.hidden || r.builtin) continue;
    Device there;
    try {
      there = parse_device(r.name);
    } catch (const Error& e) {
      std::printf("%s: %s\n", r.name, e.what());
      continue;
    }
    ++others;
    const Device here = host_device();
    const Array a = to_device(Array(std::vector<float>{1, 2, 3}, {3}), here);
    const Array doubled = a * 2.0f;                   // on the host
    const Array moved = to_device(doubled, there);    // a copy
    const Array squared = moved * moved;              // on the other engine
    const Array back = to_device(squared, here) + a;  // on the host again
    EXPECT_EQ(back.to_vector<float>(), (std::vector<float>{5, 18, 39})) << r.name;
    EXPECT_EQ(doubled.to_vector<float>(), (std::vector<float>{2, 4, 6}));
    try {
      (moved + a).to_vector<float>();
      ADD_FAILURE() << "arrays of two engines were mixed without a copy";
    } catch (const Error& e) {
      EXPECT_FALSE(e.next().empty()) << e.what();
    }
  }
  if (!others) GTEST_SKIP() << "no other engine answers here";
}

}  // namespace
}  // namespace mc
