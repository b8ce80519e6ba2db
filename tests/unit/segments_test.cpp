// Graphs cut into programs that run one after another give what they give in one.
#include "runtime/segments.h"

#include <gtest/gtest.h>

#include "mc/mc.h"
#include "runtime/run.h"
#include "transforms/trace.h"

namespace mc {
namespace {

Capture captured(const Arrays& outputs, const Arrays& args) {
  GraphLock lock;
  Capture c = capture(outputs, args, false);
  c.graph.compute_hash();
  return c;
}

std::vector<float> run(Executable& exe, const Capture& c, const Arrays& args, size_t output) {
  std::vector<Value> in, out(c.graph.outputs.size());
  for (const Array& a : args) in.push_back(place(a, default_device()));
  exe.run(in, out);
  const Aval& aval = c.graph.values[static_cast<size_t>(c.graph.outputs[output])];
  return make_leaf(aval, out[output]).to_vector<float>();
}

TEST(Segments, EveryCutGivesTheSame) {
  const Array x(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3}), y(std::vector<float>{3, 1, 2}, {3});
  const Arrays args{make_placeholder(aval_of(x)), make_placeholder(aval_of(y))};
  const Array a = args[0] * 2.0f, b = a + args[1], c = sort(b, 1), d = c - a;
  // An argument itself, a value of the first program and one of the last are results.
  const Capture g = captured({d, a, args[1], sum(d * c, {0})}, args);
  CompileOptions options;
  options.device = default_device();
  const size_t n = g.graph.nodes.size();
  const std::vector<int> whole(n, 0);
  const auto nowhere = [](int) { return false; };
  const auto one = make_segmented(g.graph, options, whole, nowhere);
  for (unsigned mask = 1; mask < (1u << (n - 1)); ++mask) {
    std::vector<int> stage(n, 0);
    for (size_t i = 1; i < n; ++i) stage[i] = stage[i - 1] + static_cast<int>(mask >> (i - 1) & 1u);
    const auto cut = make_segmented(g.graph, options, stage, nowhere);
    for (size_t o = 0; o < g.graph.outputs.size(); ++o)
      ASSERT_EQ(run(*cut, g, {x, y}, o), run(*one, g, {x, y}, o)) << "cuts " << mask << ", output " << o;
    EXPECT_EQ(cut->plan().output_bytes, one->plan().output_bytes);
  }
}

TEST(Segments, DonatedInputsAreGivenAway) {
  const Array x(std::vector<float>{1, 2}, {2});
  const Arrays args{make_placeholder(aval_of(x))};
  const Capture g = captured({exp(args[0]) + 1.0f}, args);
  CompileOptions options;
  options.device = default_device();
  options.donated = {true};
  std::vector<int> stage(g.graph.nodes.size());
  for (size_t i = 0; i < stage.size(); ++i) stage[i] = static_cast<int>(i);
  const auto cut = make_segmented(g.graph, options, stage, [](int) { return false; });
  std::vector<Value> in{place(x, options.device)}, out(1);
  cut->run(in, out);
  EXPECT_FALSE(in[0].buffer);
  EXPECT_TRUE(out[0].buffer);
}

}  // namespace
}  // namespace mc
