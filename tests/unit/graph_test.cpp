// The lazy graph: capture, evaluation, sharing, donation, long chains, errors.
#include <gtest/gtest.h>

#include <climits>
#include <cmath>
#include <complex>
#include <thread>

#include "mc/mc.h"
#include "runtime/exec_cache.h"
#include "runtime/registry.h"

namespace mc {
namespace {

std::vector<float> values(const Array& a) { return a.to_vector<float>(); }

TEST(Graph, NothingRunsBeforeEval) {
  const Array a = ones({2, 3}), b = a + a;
  EXPECT_FALSE(b.is_evaluated());
  b.eval();
  EXPECT_TRUE(b.is_evaluated());
  EXPECT_EQ(values(b), std::vector<float>(6, 2.0f));
}

TEST(Graph, AValueThatIsHeldIsComputedOnce) {
  const Array x(std::vector<float>{1, 2, 3}, {3});
  const Array held = exp(x);
  const Array y = held + 1.0;
  y.eval();
  EXPECT_TRUE(held.is_evaluated());
}

TEST(Graph, TheSameStructureIsCompiledOnce) {
  auto f = [](float s) { return (full({4}, s) * Array(std::vector<float>{1, 2, 3, 4}, {4})).eval(); };
  f(3.0f);
  const size_t misses = exec_cache_stats().misses;
  EXPECT_EQ(values(f(3.0f)), (std::vector<float>{3, 6, 9, 12}));
  EXPECT_EQ(exec_cache_stats().misses, misses);
}

// Each of these differs from the first in one thing: none may be taken for it.
TEST(Graph, OtherStructuresAreOtherPrograms) {
  const Array x = ones({2, 3}), y = zeros({2, 3}), z = ones({3, 2});
  const auto program = [](const Array& a) {
    const size_t misses = exec_cache_stats().misses;
    a.eval();
    return exec_cache_stats().misses - misses;
  };
  eval({x, y, z});
  clear_exec_cache();
  EXPECT_EQ(program(sum(x - y, {0})), 1u);
  EXPECT_EQ(program(sum(y - x, {0})), 0u) << "inputs are operands";
  EXPECT_EQ(program(sum(x - y, {1})), 1u) << "attributes";
  EXPECT_EQ(program(sum(x + y, {0})), 1u) << "operations";
  EXPECT_EQ(program(sum(z - z, {0})), 1u) << "shapes, and one input twice";
  EXPECT_EQ(program(sum(astype(x, Dtype::F64) - astype(y, Dtype::F64), {0})), 1u) << "dtypes";
  EXPECT_EQ(program(sum((x - y) - y, {0})), 1u) << "wiring";
  EXPECT_EQ(program(sum(x - y, {0})), 0u);
}

TEST(Graph, ClearCacheDropsProgramsAndMemory) {
  (ones({1 << 20}) * 2.0 + 1.0).eval();
  EXPECT_GT(exec_cache_stats().entries, 0u);
  clear_cache();
  EXPECT_EQ(exec_cache_stats().entries, 0u);
  EXPECT_EQ(memory_stats(default_device()).cached, 0u);
}

TEST(Graph, AChainOfAMillionNodesIsWalkedAndFreed) {
  Array x = zeros({1});
  for (int i = 0; i < 1'000'000; ++i) x = x + 1.0;
  EXPECT_EQ(values(x)[0], 1e6f);
  Array y = zeros({1});
  for (int i = 0; i < 1'000'000; ++i) y = y + 1.0;
}

TEST(Graph, ThreadsMayBuildAndEval) {
  const Array shared = sqrt(full({1000}, 2.0));
  std::vector<std::thread> threads;
  std::vector<float> got(4);
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i)
        got[static_cast<size_t>(t)] = sum(shared * static_cast<float>(t)).item<float>();
    });
  for (auto& t : threads) t.join();
  for (int t = 0; t < 4; ++t)
    EXPECT_NEAR(got[static_cast<size_t>(t)], 1000 * std::sqrt(2.0f) * static_cast<float>(t), 0.5);
}

TEST(Graph, AsyncEvalEndsWithEval) {
  const Array x = ones({64, 64});
  const Array y = matmul(x, x);
  async_eval({y});
  eval();
  EXPECT_TRUE(y.is_evaluated());
  EXPECT_EQ(values(y)[0], 64.0f);
}

TEST(Graph, ViewsShareAndOutputsAreRowMajor) {
  const Array a(std::vector<float>{0, 1, 2, 3, 4, 5}, {2, 3});
  EXPECT_EQ(values(transpose(a)), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(values(flip(a, {1})), (std::vector<float>{2, 1, 0, 5, 4, 3}));
  EXPECT_EQ(values(slice(a, {0, 0}, {kEnd, kEnd}, {1, 2})), (std::vector<float>{0, 2, 3, 5}));
  EXPECT_EQ(values(reshape(transpose(a), {6})), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(values(broadcast_to(slice_axis(a, 0, 1, 2), {2, 3})), (std::vector<float>{3, 4, 5, 3, 4, 5}));
}

TEST(Graph, MixedDevicesAreRefused) {
  const Device null{&get_backend("null"), 0};
  Array there;
  {
    DeviceScope scope(null);
    there = ones({2}).eval();
  }
  const Array here = to_device(ones({2}), {&get_backend("numpy"), 0});
  EXPECT_THROW((here + there).eval(), Error);
}

TEST(Graph, NullEngineHasShapesOnly) {
  DeviceScope scope({&get_backend("null"), 0});
  const Array y = matmul(ones({1 << 20, 1 << 10}), ones({1 << 10, 1 << 20}));
  EXPECT_NO_THROW(y.eval());
  EXPECT_EQ(y.shape(), (Shape{1 << 20, 1 << 20}));
  EXPECT_THROW(y.to_vector<float>(), Error);
}

TEST(Compile, TracesOnceAndKeepsCapturedArrays) {
  int traced = 0;
  const Array w = full({3}, 2.0) * 1.5;
  const Function f = compile([&](const Arrays& a) {
    ++traced;
    return Arrays{a[0] * w + a[0] * w};
  });
  EXPECT_EQ(values(f({ones({3})})[0]), std::vector<float>(3, 6.0f));
  EXPECT_EQ(values(f({full({3}, 2.0)})[0]), std::vector<float>(3, 12.0f));
  EXPECT_EQ(traced, 1);
  f({ones({2, 3})});
  EXPECT_EQ(traced, 2);
}

TEST(Compile, ShapelessIsTracedTwiceToSeeThatShapesDoNotMatter) {
  int traced = 0;
  const Function f = compile(
      [&](const Arrays& a) {
        ++traced;
        return Arrays{exp(a[0]) + 1.0};
      },
      true);
  f({zeros({2})});
  EXPECT_EQ(values(f({zeros({5})})[0]), std::vector<float>(5, 2.0f));
  EXPECT_EQ(traced, 2);
  EXPECT_EQ(values(f({zeros({9})})[0]), std::vector<float>(9, 2.0f));
  EXPECT_EQ(values(f({zeros({0})})[0]), std::vector<float>());
  EXPECT_EQ(traced, 2);
  f({zeros({2, 2})});  // another rank is another function
  EXPECT_EQ(traced, 3);
}

TEST(Compile, ShapelessNeverUsesOneShapesNumbersForAnother) {
  const std::vector<std::pair<const char*, Function>> functions = {
      {"mean", [](const Arrays& a) { return Arrays{mean(a[0])}; }},
      {"a window", [](const Arrays& a) { return Arrays{slice_axis(a[0], 0, 0, 8)}; }},
      {"all but the last", [](const Arrays& a) { return Arrays{slice_axis(a[0], 0, 0, -1)}; }},
      {"an update", [](const Arrays& a) { return Arrays{slice_update(a[0], zeros({1}), {0}, {1})}; }},
      {"its length",
       [](const Arrays& a) { return Arrays{arange(0, a[0].shape(0)) + astype(a[0], Dtype::I32)}; }},
      {"a draw", [](const Arrays& a) { return Arrays{a[0] * 0.0 + 1.0}; }}};
  for (const auto& [name, function] : functions) {
    const Function f = compile(function, true);
    for (int64_t n : {16, 9, 4, 40, 9, 1}) {
      const Array x = astype(arange(0, n), Dtype::F32);
      const Array want = function({x})[0], got = f({x})[0];
      ASSERT_EQ(got.shape().str(), want.shape().str()) << name << " of " << n;
      EXPECT_EQ(astype(got, Dtype::F32).to_vector<float>(), astype(want, Dtype::F32).to_vector<float>())
          << name << " of " << n;
    }
  }
}

TEST(Compile, ClosesOverArgumentsOfTheTransformsAround) {
  const Array x(std::vector<float>{1, 2}, {2}), w(std::vector<float>{3, 4}, {2});
  const Function scaled = [&](const Arrays& p) {
    const Function inner = compile([&](const Arrays& a) { return Arrays{a[0] * p[0]}; });
    return Arrays{sum(inner({x})[0])};
  };
  EXPECT_EQ(values(grad(scaled)({w})[0]), values(x));
  const Function outer = compile(scaled);
  EXPECT_EQ(values(outer({w})[0]), std::vector<float>{11});
  EXPECT_EQ(values(outer({x})[0]), std::vector<float>{5});
}

TEST(Compile, AFailedRunGivesDonatedArgumentsBack) {
  const Function f = compile([](const Arrays& a) { return Arrays{a[0] + 1.0, a[0] - a[1]}; }, false, {0});
  Array x = ones({1 << 20});
  const Array y = ones({1 << 20});
  eval({x, y});
  const Device device = default_device();
  set_memory_limit(device, memory_stats(device).active + 1000);
  EXPECT_THROW(f({x, y}), Error);
  set_memory_limit(device, 0);
  EXPECT_EQ(x.to_vector<float>()[7], 1.0f);
}

// Memory that is not ours alone is copied before it is given away; when there is none for the copy, nothing
// is lost.
TEST(Compile, AFailedCopyGivesDonatedArgumentsBack) {
  static const std::vector<float> table(1 << 20, 4.0f);
  const Function f = compile([](const Arrays& a) { return Arrays{a[0] + 1.0}; }, false, {0});
  const Array x = Array::wrap(table.data(), {1 << 20}, Dtype::F32, nullptr);
  const Device device = default_device();
  set_memory_limit(device, memory_stats(device).active + 1000);
  EXPECT_THROW(f({x}), Error);
  set_memory_limit(device, 0);
  EXPECT_EQ(x.to_vector<float>()[7], 4.0f);
}

TEST(Compile, ACapturedArrayElsewhereDoesNotTraceAnew) {
  Array there;
  {
    DeviceScope scope({&get_backend("null"), 0});
    there = ones({2}).eval();
  }
  int traced = 0;
  const Function f = compile([&](const Arrays& a) {
    ++traced;
    return Arrays{a[0] + there};
  });
  for (int i = 0; i < 3; ++i) f({Array(std::vector<float>{1, 2}, {2})});
  EXPECT_EQ(traced, 1);
}

TEST(Compile, DonationNeedsNoMemoryForWhatItTakesOver) {
  const Function f =
      compile([](const Arrays& a) { return Arrays{slice_update(a[0], ones({1}), {0}, {1})}; }, false, {0});
  Array x = ones({1 << 20});
  x.eval();
  const Device device = default_device();
  set_memory_limit(device, memory_stats(device).active + (1 << 16));
  Arrays out = f({x});
  eval(out);
  set_memory_limit(device, 0);
  EXPECT_EQ(out[0].to_vector<float>()[1], 1.0f);
}

TEST(Compile, MemoryThatIsNotOursIsNotWrittenTo) {
  static const float table[4] = {1, 2, 3, 4};
  const Function f = compile([](const Arrays& a) { return Arrays{a[0] + 1.0}; }, false, {0});
  EXPECT_EQ(values(f({Array::wrap(table, {4}, Dtype::F32, nullptr)})[0]), (std::vector<float>{2, 3, 4, 5}));
  EXPECT_EQ(table[0], 1.0f);
}

TEST(Compile, DonatedMemoryIsTakenOver) {
  const Function f =
      compile([](const Arrays& a) { return Arrays{slice_update(a[0], ones({1}), {0}, {1})}; }, false, {0});
  Array x = zeros({1000}) + 1.0;
  x.eval();
  const void* before = x.host_data();
  const Arrays out = f({x});
  EXPECT_EQ(out[0].host_data(), before);
  EXPECT_THROW(x.to_vector<float>(), Error);
}

TEST(Compile, DonationCopiesMemoryThatOthersSee) {
  const Function f = compile(
      [](const Arrays& a) { return Arrays{slice_update(a[0], full({1}, 7.0), {0}, {1})}; }, false, {0});
  const Array x = (zeros({10}) + 1.0).eval();
  const Array view = reshape(x, {2, 5}).eval();
  f({x});
  EXPECT_EQ(values(view), std::vector<float>(10, 1.0f));
}

TEST(Compile, ReadingATracedArrayIsAnError) {
  const Function f = compile([](const Arrays& a) {
    a[0].eval();
    return a;
  });
  EXPECT_THROW(f({ones({2})}), Error);
}

TEST(Grad, OfAPolynomialAndOfItsGradient) {
  const Function f = [](const Arrays& a) { return Arrays{sum(a[0] * a[0] * a[0])}; };
  const Array x(std::vector<float>{1, 2, -3}, {3});
  EXPECT_EQ(values(grad(f)({x})[0]), (std::vector<float>{3, 12, 27}));
  const Function g = [&](const Arrays& a) { return Arrays{sum(grad(f)(a)[0])}; };
  EXPECT_EQ(values(grad(g)({x})[0]), (std::vector<float>{6, 12, -18}));
}

TEST(Grad, BroadcastingIsSummed) {
  const Function f = [](const Arrays& a) { return Arrays{sum(a[0] * a[1])}; };
  const Array x = ones({2, 3}), y(std::vector<float>{1, 2, 3}, {3});
  const Arrays g = grad(f, {0, 1})({x, y});
  EXPECT_EQ(values(g[0]), (std::vector<float>{1, 2, 3, 1, 2, 3}));
  EXPECT_EQ(values(g[1]), (std::vector<float>{2, 2, 2}));
}

TEST(Grad, CheckpointGivesTheSame) {
  const Function f = [](const Arrays& a) { return Arrays{sum(tanh(matmul(a[0], a[0])))}; };
  const Function c = [&](const Arrays& a) { return checkpoint(f)(a); };
  const Array x(std::vector<float>{0.1f, 0.2f, 0.3f, 0.4f}, {2, 2});
  EXPECT_EQ(values(grad(f)({x})[0]), values(grad(c)({x})[0]));
  // It is a node of its own, whose gradient holds the body once more.
  EXPECT_NE(graph_text(c({x})).find("checkpoint"), std::string::npos);
  const std::string text = graph_text(grad(c)({x}));
  EXPECT_NE(text.find("barrier"), std::string::npos);
}

TEST(Grad, CheckpointClosesOverParameters) {
  const Array x(std::vector<float>{0.1f, 0.2f, 0.3f, 0.4f}, {2, 2}), w = x * 2.0;
  auto loss = [&](bool again) {
    return [&, again](const Arrays& p) {
      const Array h = p[0] * 1.5;  // depends on the parameter, made outside
      const Function f = [&](const Arrays& a) { return Arrays{tanh(matmul(a[0], p[0])) + h}; };
      return Arrays{sum(again ? checkpoint(f)({x})[0] : f({x})[0])};
    };
  };
  EXPECT_EQ(values(grad(loss(true))({w})[0]), values(grad(loss(false))({w})[0]));
  EXPECT_EQ(values(compile(loss(true))({w})[0]), values(loss(false)({w})[0]));
  const Array ws = stack({w, x});
  EXPECT_EQ(values(vmap(loss(true))({ws})[0]), values(vmap(loss(false))({ws})[0]));
}

TEST(Grad, CheckpointsOfTheSameBodyAreOneProgram) {
  const Array x = ones({3});
  x.eval();
  auto step = [&] {
    eval(grad([](const Arrays& a) {
      return checkpoint([](const Arrays& b) { return Arrays{sum(exp(b[0]))}; })(a);
    })({x}));
  };
  step();
  const size_t misses = exec_cache_stats().misses;
  step();
  EXPECT_EQ(exec_cache_stats().misses, misses);
  const Array nan = full({2}, std::nan(""));
  nan.eval();
  const size_t before = exec_cache_stats().misses;
  full({2}, std::nan("")).eval();
  EXPECT_EQ(exec_cache_stats().misses, before);
}

TEST(Grad, FurtherOutputsDoNotKeepStepsAlive) {
  const auto step = value_and_grad([](const Arrays& a) {
    return Arrays{sum(a[0] * a[0]), a[1] * 0.9 + mean(a[0]) * 0.1};
  });
  Array w = ones({4}), average = zeros({});
  for (int i = 0; i < 20; ++i) {
    auto [values, grads] = step({w, average});
    average = values[1];
    w = w - grads[0] * 0.1;
    eval({w, average});
  }
  EXPECT_EQ(graph_text({average}).find("mean"), std::string::npos);
  EXPECT_EQ(graph_text({average}).find("multiply"), std::string::npos);
}

TEST(Grad, TrainingDoesNotKeepEveryStepAlive) {
  const Function loss = [](const Arrays& a) { return Arrays{sum((a[0] - 3.0) * (a[0] - 3.0))}; };
  const auto step = value_and_grad(loss);
  Array w = zeros({4});
  for (int i = 0; i < 200; ++i) {
    w = w - step({w}).second[0] * 0.1;
    w.eval();
  }
  EXPECT_EQ(graph_text({w}).find("subtract"), std::string::npos);
  EXPECT_NEAR(values(w)[0], 3.0f, 1e-3);
}

TEST(Vmap, EqualsALoop) {
  const Function f = [](const Arrays& a) { return Arrays{matmul(a[0], a[1]) + a[2]}; };
  const Array a = reshape(astype(arange(12), Dtype::F32), {2, 2, 3}),
              b = reshape(astype(arange(6), Dtype::F32), {3, 2}), c = ones({2, 2});
  const Array all = vmap(f, {0, kNoAxis, 0})({a, b, c})[0];
  for (int i = 0; i < 2; ++i) {
    const Array one =
        f({squeeze(slice_axis(a, 0, i, i + 1), {0}), b, squeeze(slice_axis(c, 0, i, i + 1), {0})})[0];
    EXPECT_EQ(values(slice_axis(all, 0, i, i + 1)), values(one));
  }
}

TEST(Graph, ManyOperandsAreNotCut) {
  const Arrays many(70000, ones({1}));
  const Array all = concatenate(many);
  EXPECT_EQ(all.shape(0), 70000);
  EXPECT_EQ(sum(all).item<float>(), 70000);
}

TEST(Graph, AsyncWorkBelongsToTheCallersDevice) {
  const Array y = [] {
    DeviceScope scope({&get_backend("null"), 0});
    const Array inside = ones({2}) + 1.0;
    async_eval({inside});
    return inside;
  }();
  eval();
  EXPECT_EQ(device_name(y.device()), "null:0");
}

TEST(Graph, EmptyArraysAndDevicesAreErrors) {
  EXPECT_THROW(compile([](const Arrays&) { return Arrays(1); })({ones({1})}), Error);
  EXPECT_THROW(compile([](const Arrays& a) { return a; })({Array()}), Error);
  EXPECT_THROW(checkpoint([](const Arrays&) { return Arrays(1); })({ones({1})}), Error);
  EXPECT_THROW(vmap([](const Arrays&) { return Arrays(1); })({ones({1})}), Error);
  EXPECT_THROW(graph_text({Array()}), Error);
  EXPECT_THROW(memory_stats({}), Error);
  EXPECT_THROW(synchronize(Device{}), Error);
  EXPECT_THROW(set_default_device({}), Error);
  EXPECT_THROW(to_device(ones({1}), {}), Error);
  EXPECT_THROW(DeviceScope scope({}), Error);
  EXPECT_THROW(quantized_matmul(ones({1, 32}), QTensor{}), Error);
}

TEST(Graph, HugeShapesAreRefusedWhereTheyAreMade) {
  const Array a = broadcast_to(ones({1, 1}), {int64_t{1} << 31, 1}),
              b = broadcast_to(ones({1, 1}), {1, int64_t{1} << 31});
  EXPECT_THROW(a + b, Error);
  EXPECT_THROW(matmul(a, b), Error);
  EXPECT_THROW(where(a > 0, a, b), Error);
}

TEST(Array, ElementsComeOutAsTheyAre) {
  EXPECT_EQ(Array(std::vector<int64_t>{9007199254740993}, {}).item<int64_t>(), 9007199254740993);
  EXPECT_EQ(Array(std::vector<uint64_t>{UINT64_MAX}, {}).item<uint64_t>(), UINT64_MAX);
  EXPECT_EQ(Array(std::vector<int8_t>{-3}, {}).item<int>(), -3);
  const Array z(std::vector<std::complex<float>>{{1, 2}}, {});
  EXPECT_EQ(z.item<std::complex<float>>(), (std::complex<float>{1, 2}));
  EXPECT_THROW(z.item<float>(), Error);
  EXPECT_EQ((ones({2}) > 0).to_vector<bool>(), (std::vector<bool>{true, true}));
  EXPECT_EQ(Array(std::vector<bool>{true, false}, {2}).to_vector<bool>(), (std::vector<bool>{true, false}));
  EXPECT_EQ(Array({1.f, 2.f}, {2}).to_vector<float>(), (std::vector<float>{1, 2}));
  EXPECT_EQ(Array(1.5).item<float>(), 1.5f);
  EXPECT_THROW(Array(int64_t{1} << 40), Error);
  EXPECT_EQ(full({}, uint64_t{1} << 63, Dtype::F64).item<double>(), 9223372036854775808.0);
  EXPECT_EQ(full({}, uint64_t{1} << 63, Dtype::U64).item<uint64_t>(), uint64_t{1} << 63);
  EXPECT_THROW(full({}, -1, Dtype::U64), Error);
  EXPECT_EQ(Array(1e20f).item<int>(), INT_MAX);
  EXPECT_EQ(Array(-1e20f).item<int64_t>(), INT64_MIN);
  EXPECT_EQ(Array(-3.9f).item<int>(), -3);
  EXPECT_EQ(Array(-3.9f).item<uint8_t>(), 0);
  EXPECT_EQ(Array(NAN).item<int>(), 0);
}

// Destroyed after everything of this thread.
const Array kept_for_ever = ones({2});

}  // namespace
}  // namespace mc
