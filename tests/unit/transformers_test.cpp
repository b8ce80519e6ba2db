// Every architecture against Hugging Face Transformers, on tiny random weights
// (tests/golden/make_transformers.py): states of every block and logits on every engine that is here, and
// gradients by weights.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "mc/generate.h"
#include "mc/mc.h"
#include "mc/model.h"
#include "mc/ops.h"
#include "mc/safetensors.h"
#include "runtime/registry.h"

namespace mc {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
const char* const kRoot = std::getenv("MC_SOURCE_DIR");
const fs::path kGolden = fs::path(kRoot ? kRoot : ".") / "tests/golden/transformers";
constexpr const char* kCases[] = {
    "llama",     "llama-linear", "llama-dynamic", "llama-llama3",    "llama-yarn",    "llama-yarn-whole",
    "mistral",   "qwen2",        "qwen3",         "gemma2",          "gemma3",        "phi3",
    "phi3-long", "gpt2",         "gpt_neox",      "gpt_neox-serial", "gpt_neox-fast", "mixtral",
    "qwen3_moe", "bert"};

// A case as a directory such as people have: its configuration, its weights, a tokenizer of letters.
class Case {
 public:
  explicit Case(const std::string& name) : about_(Json::parse(std::ifstream(kGolden / (name + ".json")))) {
    path_ = fs::temp_directory_path() / cat("mc_transformers_", ::getpid(), "_", name);
    fs::create_directory(path_);
    std::ofstream(path_ / "config.json") << about_["config"];
    Json vocab;
    for (int i = 0; i < 26; ++i) vocab[std::string(1, static_cast<char>('a' + i))] = i;
    const Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
    std::ofstream(path_ / "tokenizer.json")
        << Json{{"pre_tokenizer", byte_level},
                {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", Json::array()}}}};
    fs::create_symlink(kGolden / (about_["weights"].get<std::string>() + ".safetensors"),
                       path_ / "model.safetensors");
    golden_ = SafetensorsFile::open((kGolden / (name + ".golden.safetensors")).string());
    for (const Json& row : about_["ids"])
      for (const Json& id : row) ids_.push_back(id);
    for (const Json& n : about_["lengths"]) lengths_.push_back(n);
  }
  ~Case() { fs::remove_all(path_); }

  std::shared_ptr<Model> load(Dtype dtype, std::map<std::string, Array> weights = {}) const {
    return load_model(path_.string(),
                      {.dtype = dtype, .context = about_["context"], .weights = std::move(weights)});
  }
  int64_t rows() const { return static_cast<int64_t>(lengths_.size()); }
  int64_t tokens() const { return static_cast<int64_t>(ids_.size()) / rows(); }
  const std::vector<int32_t>& ids() const { return ids_; }
  const std::vector<int32_t>& lengths() const { return lengths_; }
  const SafetensorsFile& golden() const { return *golden_; }

  // The largest difference over the golden's root mean square, of tokens that are no padding.
  double error(const Array& got, const std::string& name) const {
    const std::vector<float> want = golden_->array(golden_->require(name)).to_vector<float>(),
                             have = astype(got, Dtype::F32).to_vector<float>();
    EXPECT_EQ(want.size(), have.size()) << name;
    if (want.size() != have.size()) return INFINITY;
    const bool states = !name.starts_with("grad");
    const size_t width = states ? want.size() / ids_.size() : want.size();
    double worst = 0, squares = 0, n = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      const size_t token = i / width % static_cast<size_t>(tokens()),
                   row = states ? i / width / static_cast<size_t>(tokens()) : 0;
      if (states && static_cast<int32_t>(token) >= lengths_[row]) continue;
      const double d = std::abs(static_cast<double>(have[i]) - static_cast<double>(want[i]));
      if (std::isnan(d)) return NAN;  // less than no bound
      worst = std::max(worst, d);
      squares += static_cast<double>(want[i]) * static_cast<double>(want[i]);
      n += 1;
    }
    return worst / std::sqrt(squares / n);
  }

 private:
  Json about_;
  fs::path path_;
  std::shared_ptr<SafetensorsFile> golden_;
  std::vector<int32_t> ids_, lengths_;
};

class Transformers : public ::testing::TestWithParam<const char*> {};

// A few roundings of 6e-8 an operation, some hundred operations deep, magnified by norms and softmax: seen
// are 5e-6 and, of gradients, 2e-5. In float64 the scaled frequencies of the rotation are still float32: 6e-8
// of an angle of up to 24, seen 5e-7.
double bound(Dtype dtype) { return dtype == Dtype::F64 ? 2e-6 : 2e-5; }

void compare(const Case& c, Dtype dtype) {
  const std::shared_ptr<Model> model = c.load(dtype);
  const int64_t layers = model->config().layers;
  std::vector<Site> sites = parse_sites(cat("embed,resid_post.0-", layers - 1), layers);
  Session session(model, c.rows());
  Arrays taps;
  const Array hidden = session.run(c.ids(), 5, true, sites, &taps, c.lengths());
  EXPECT_LT(c.error(taps[0], "embed"), bound(dtype));
  for (int64_t l = 0; l < layers; ++l)
    EXPECT_LT(c.error(taps[static_cast<size_t>(l) + 1], cat("block.", l)), bound(dtype)) << l;
  EXPECT_LT(c.error(hidden, "hidden"), bound(dtype));
  if (model->config().encoder) return;
  EXPECT_LT(c.error(model->logits(hidden), "logits"), bound(dtype));
}

TEST_P(Transformers, StatesAndLogits) {
  const Case c(GetParam());
  int engines = 0;
  for (const char* engine : {"numpy", "jax", "mlx", "cuda"}) {
    SCOPED_TRACE(engine);
    std::optional<DeviceScope> scope;
    try {
      scope.emplace(parse_device(engine));
    } catch (const Error&) {
      continue;  // the engine is not here
    }
    compare(c, Dtype::F32);
    ++engines;
  }
  EXPECT_GE(engines, 1);
}

TEST_P(Transformers, TheOracleIsCloser) { compare(Case(GetParam()), Dtype::F64); }

std::vector<char> bytes(const Array& a) {
  std::vector<char> out(a.nbytes());
  a.to_bytes(out.data());
  return out;
}

// The host engine's promise, for every architecture: chunks and neighbours change no bit.
TEST_P(Transformers, ChunksAndNeighboursChangeNoBit) {
  const Case c(GetParam());
  const DeviceScope scope(parse_device("numpy"));
  const std::shared_ptr<Model> model = c.load(Dtype::F32);
  const int64_t n = c.tokens(), d = model->config().hidden;
  const std::vector<int32_t> row(c.ids().begin(), c.ids().begin() + n);
  Session alone(model);
  const std::vector<char> want = bytes(alone.run(row, kMaxPass, true));
  for (int64_t chunk : {1, 4}) {
    Session s(model);
    EXPECT_EQ(bytes(s.run(row, chunk, true)), want) << chunk;
  }
  std::vector<int32_t> three(static_cast<size_t>(3 * n), 7);
  std::copy(row.begin(), row.end(), three.begin() + n);
  Session side(model, 3);
  const Array all = side.run(three, kMaxPass, true);
  EXPECT_EQ(bytes(reshape(slice_axis(all, 0, 1, 2), {1, n, d})), want);
}

// Sites are where their names say: what is read fits together, and reading changes nothing.
TEST_P(Transformers, SitesFitTogether) {
  const Case c(GetParam());
  const DeviceScope scope(parse_device("numpy"));
  const std::shared_ptr<Model> model = c.load(Dtype::F32);
  const ModelConfig& m = model->config();
  Session plain(model, c.rows()), watched(model, c.rows());
  const Array hidden = plain.run(c.ids(), kMaxPass, true, {}, nullptr, c.lengths());
  for (int64_t l = 0; l < m.layers; ++l) {
    const auto at = [&](const char* name) { return parse_sites(cat(name, ".", l), m.layers)[0]; };
    Arrays t;
    watched.reset();
    const Array same =
        watched.run(c.ids(), kMaxPass, true,
                    {at("resid_pre"), at("attn_out"), at("mlp_out"), at("resid_post"), at("v"), at("pattern"),
                     at("heads"), at("attn_in"), at("mlp_in"), at("q"), at("k")},
                    &t, c.lengths());
    EXPECT_EQ(bytes(same), bytes(hidden));
    if (!m.encoder) {  // whose sums are normed
      const Array sum = t[0] + t[1] + t[2];
      EXPECT_LT(max(abs(sum - t[3])).item<double>(), 1e-5);
    }
    const int64_t groups = m.heads / m.kv_heads, n = c.tokens();
    const Array v = reshape(broadcast_to(expand_dims(transpose(t[4], {0, 2, 1, 3}), {2}),
                                         {c.rows(), m.kv_heads, groups, n, m.head_dim}),
                            {c.rows(), m.heads, n, m.head_dim});
    const Array mixed = transpose(matmul(t[5], v), {0, 2, 1, 3});
    EXPECT_LT(max(abs(mixed - t[6])).item<double>(), 1e-5) << "a pattern times the values are the heads";
    EXPECT_LT(max(abs(sum(t[5], {-1}) - 1.0f)).item<double>(), 1e-5);
    EXPECT_EQ(t[9].shape(), (Shape{c.rows(), n, m.heads, m.head_dim}));
    EXPECT_EQ(t[10].shape(), (Shape{c.rows(), n, m.kv_heads, m.head_dim}));
  }
}

TEST_P(Transformers, Gradients) {
  const Case c(GetParam());
  std::vector<std::string> names;
  for (const SafetensorsTensor& t : c.golden().tensors())
    if (t.name.starts_with("grad ")) names.push_back(t.name.substr(5));
  if (names.empty()) GTEST_SKIP() << "a variant of llama or phi3, whose gradients are compared";
  const std::shared_ptr<Model> plain = c.load(Dtype::F32);
  Arrays at;
  for (const std::string& n : names) {
    const GgufTensor& t = plain->file().require_tensor(n);
    const Dtype stored = t.type == GgmlType::F32 ? Dtype::F32 : Dtype::F16;
    at.push_back(astype(Array::wrap(t.data.data(), t.shape, stored, c.load(Dtype::F32), Memory::MappedFile),
                        Dtype::F32)
                     .eval());
  }
  const int64_t b = c.rows(), n = c.tokens();
  const auto loss = [&](const Arrays& weights) -> Arrays {
    std::map<std::string, Array> given;
    for (size_t i = 0; i < names.size(); ++i) given[names[i]] = weights[i];
    const std::shared_ptr<Model> model = c.load(Dtype::F32, given);
    ForwardInput in;
    in.ids = Array(c.ids(), {b, n});
    in.start = zeros({b}, Dtype::I32);
    in.lengths = Array(c.lengths(), {b});
    if (!model->config().encoder) in.cache = model->make_cache(b, n);
    const Array hidden = model->forward(in).hidden;
    if (model->config().encoder) {
      const Array real = expand_dims(less(arange(static_cast<int>(n)), expand_dims(in.lengths, {1})), {-1});
      const double count = 32.0 * (c.lengths()[0] + c.lengths()[1]);
      return {sum(where(real, square(hidden), zeros_like(hidden))) / count};
    }
    const Array logits = slice_axis(model->logits(hidden), 1, 0, n - 1);
    return {mean(cross_entropy(logits, slice_axis(in.ids, 1, 1, n)))};
  };
  const auto [value, gradients] = vjp(loss, at, {Array(1.0f)});
  EXPECT_NEAR(value[0].item<double>(), c.golden().array(c.golden().require("loss")).item<double>(), 1e-4);
  for (size_t i = 0; i < names.size(); ++i)
    EXPECT_LT(c.error(gradients[i], "grad " + names[i]), 5 * bound(Dtype::F32)) << names[i];
  Arrays stepped;
  for (size_t i = 0; i < names.size(); ++i) stepped.push_back(at[i] - gradients[i] * 0.1f);
  EXPECT_NEAR(loss(stepped)[0].item<double>(),
              c.golden().array(c.golden().require("loss.step")).item<double>(), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Every, Transformers, ::testing::ValuesIn(kCases), [](const auto& i) {
  std::string name = i.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(TransformersWeights, UnknownNamesAndShapesAreRefused) {
  const Case c("llama");
  try {
    c.load(Dtype::F32, {{"blk.0.attn_qq.weight", zeros({32, 32}, Dtype::F32)}});
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(e.next().find("blk.0.attn_q.weight"), std::string::npos) << e.next();
  }
  EXPECT_THROW(c.load(Dtype::F32, {{"blk.0.attn_q.weight", zeros({32, 31}, Dtype::F32)}}), Error);
}

}  // namespace
}  // namespace mc
