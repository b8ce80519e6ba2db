// What an engine has no kernel for: fused nodes fall into their parts, all the way down; what has no parts
// runs on the host or is refused by name.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/op_names.h"
#include "mc/mc.h"
#include "prims/op_def.h"
#include "runtime/exec_cache.h"
#include "runtime/run.h"
#include "runtime/segments.h"
#include "transforms/trace.h"

namespace mc {
namespace {

// The host engine without the operations of a list.
class Lacking final : public Backend {
 public:
  explicit Lacking(std::set<Op> lacks) : lacks_(std::move(lacks)) {}
  std::string_view name() const override { return "lacking"; }
  std::vector<DeviceInfo> devices() override { return {{"cpu", "a test", 0}}; }
  bool has_dtype(Dtype) const override { return true; }
  Support supports(Op op, std::span<const Aval>, const Attrs&) const override {
    if (lacks_.count(op)) return {false, "there is no kernel"};
    return {true, {}};
  }
  BufferPtr allocate(const Device&, size_t bytes) override { return host_engine().allocate(host(), bytes); }
  void upload(const Device&, const void*, const Value&, size_t) override {}
  void download(const Value&, void*, size_t) override {}
  Value adopt(const Device&, const Value& v) override { return v; }
  std::unique_ptr<Executable> compile(const Graph& g, const CompileOptions& o) override {
    for (const GraphNode& n : g.nodes)
      if (lacks_.count(n.op)) ADD_FAILURE() << op_name(n.op) << " reached an engine that lacks it";
    CompileOptions there = o;
    there.device = host();
    return host_engine().compile(g, there);
  }
  void synchronize(const Device&) override {}
  MemoryStats memory(const Device&, const MemoryRequest&) override { return {}; }
  std::vector<std::pair<std::string, std::string>> facts() override { return {}; }

 private:
  static Device host() { return {&host_engine(), 0}; }
  std::set<Op> lacks_;
};

Graph captured(const Arrays& outputs, const Arrays& args) {
  GraphLock lock;
  Capture c = capture(outputs, args, false);
  c.graph.compute_hash();
  return std::move(c.graph);
}

std::vector<Op> ops_of(const Graph& g) {
  std::vector<Op> out;
  for (const GraphNode& n : g.nodes) out.push_back(n.op);
  return out;
}

bool has(const Graph& g, Op op) {
  const std::vector<Op> ops = ops_of(g);
  return std::find(ops.begin(), ops.end(), op) != ops.end();
}

std::vector<float> run_on_host(const Graph& g, const Arrays& args) {
  CompileOptions options;
  options.device = {&host_engine(), 0};
  std::vector<Value> in, out(g.outputs.size());
  for (const Array& a : args) in.push_back(place(a, options.device));
  host_engine().compile(g, options)->run(in, out);
  return make_leaf(g.values[static_cast<size_t>(g.outputs[0])], out[0]).to_vector<float>();
}

const Array x(std::vector<float>{1, -2, 3, 0.5f, 4, -1}, {2, 3}), w(std::vector<float>{1, 2, 0.5f}, {3});

struct Traced {
  Arrays args;
  Graph graph;
};
Traced softmax_of_a_norm() {
  Traced t;
  t.args = {make_placeholder(aval_of(x)), make_placeholder(aval_of(w))};
  t.graph = captured({softmax(rms_norm(t.args[0], t.args[1], 1e-6) * 2.0f)}, t.args);
  return t;
}

TEST(Legalize, NothingChangesWhereAllIsThere) {
  Lacking all({});
  const Traced t = softmax_of_a_norm();
  Graph out;
  EXPECT_FALSE(legalize(t.graph, all, out));
  EXPECT_TRUE(out.nodes.empty());
}

TEST(Legalize, OnlyWhatIsMissingFallsIntoItsParts) {
  Lacking engine({Op::RmsNorm});
  const Traced t = softmax_of_a_norm();
  ASSERT_TRUE(has(t.graph, Op::RmsNorm) && has(t.graph, Op::Softmax));
  Graph out;
  ASSERT_TRUE(legalize(t.graph, engine, out));
  EXPECT_FALSE(has(out, Op::RmsNorm));
  EXPECT_TRUE(has(out, Op::Softmax));
  EXPECT_TRUE(has(out, Op::Rsqrt));
  // Inputs keep their order, kinds and shapes, and the result is the same up to rounding.
  ASSERT_EQ(out.inputs, t.graph.inputs);
  for (size_t i = 0; i < out.inputs.size(); ++i) EXPECT_EQ(out.values[i], t.graph.values[i]);
  Graph again = out;
  again.compute_hash();
  EXPECT_EQ(again.hash, out.hash);
  const std::vector<float> whole = run_on_host(t.graph, {x, w}), parts = run_on_host(out, {x, w});
  ASSERT_EQ(whole.size(), 6u);
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(parts[i], whole[i], 1e-6) << i;
}

// Each fused operation, all of them missing: parts that are fused themselves fall into theirs.
TEST(Legalize, PartsOfPartsToo) {
  std::set<Op> fused;
  for (int i = 0; i < kOpCount; ++i)
    if (op_kind(static_cast<Op>(i)) == OpKind::Fused) fused.insert(static_cast<Op>(i));
  ASSERT_GE(fused.size(), 8u);
  Lacking engine(fused);
  const Traced t = softmax_of_a_norm();
  Graph out;
  ASSERT_TRUE(legalize(t.graph, engine, out));
  for (const GraphNode& n : out.nodes) EXPECT_NE(op_kind(n.op), OpKind::Fused) << op_name(n.op);
  const std::vector<float> whole = run_on_host(t.graph, {x, w}), parts = run_on_host(out, {x, w});
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(parts[i], whole[i], 1e-6) << i;
}

TEST(Legalize, ACoreOperationThatIsMissingIsRefusedByName) {
  Lacking engine({Op::Exp});
  const Arrays args{make_placeholder(aval_of(x))};
  const Graph g = captured({exp(args[0]) + 1.0f}, args);
  Graph out;
  try {
    legalize(g, engine, out);
    FAIL() << "exp was taken for granted";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::UnsupportedOp);
    EXPECT_EQ(e.message(), "the lacking engine can't run exp: there is no kernel");
    EXPECT_EQ(e.where(), "exp");
  }
  // So is one that only a decomposition needs.
  Lacking deeper({Op::Softmax, Op::Exp});
  const Arrays a{make_placeholder(aval_of(x))};
  const Graph s = captured({softmax(a[0])}, a);
  EXPECT_THROW(legalize(s, deeper, out), Error);
}

TEST(Legalize, HostOperationsStayWhereTheyAre) {
  Lacking engine({Op::Cholesky});
  const Array square(std::vector<float>{4, 2, 2, 3}, {2, 2});
  const Arrays args{make_placeholder(aval_of(square))};
  const Graph g = captured({cholesky(args[0])}, args);
  Graph out;
  ASSERT_TRUE(runs_on_host(g, g.nodes.back(), engine));
  EXPECT_FALSE(legalize(g, engine, out)) << "it is cut out, not taken apart";
}

}  // namespace
}  // namespace mc
