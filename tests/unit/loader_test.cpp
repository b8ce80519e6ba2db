// Models from files whose metadata say something else than the code computes: refused with key and value, or
// honoured.
#include <gtest/gtest.h>

#include <cmath>

#include "mc/detail/str.h"
#include "mc/generate.h"
#include "mc/mc.h"
#include "mc/model.h"
#include "tiny_model.h"

namespace mc {
namespace {

std::vector<double> score_of(const std::string& arch, const Set& change = {}) {
  const TinyFile file(arch, change);
  return score(load_model(file.path(), {}), {{0, 1, 2, 3, 4, 5, 6, 7, 1, 2, 3}})[0];
}
std::string refusal(const std::string& arch, const Set& change) {
  const TinyFile file(arch, change);
  try {
    load_model(file.path(), {});
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::BadModel) << e.what();
    EXPECT_NE(std::string(e.what()).find(file.path()), std::string::npos) << e.what();
    return e.what();
  }
  return "loaded";
}

TEST(Loader, TinyModelsRun) {
  for (const char* arch : {"llama", "gemma3"})
    for (double p : score_of(arch)) EXPECT_LT(p, 0) << arch;
}

TEST(Loader, HyperparametersOutOfRangeNameTheirKey) {
  const std::vector<std::pair<const char*, std::vector<uint64_t>>> keys = {
      {"block_count", {0, 1u << 20, UINT64_MAX}}, {"embedding_length", {0, UINT64_MAX}},
      {"attention.head_count", {0, UINT64_MAX}},  {"attention.head_count_kv", {0, 3, uint64_t{1} << 63}},
      {"feed_forward_length", {0, UINT64_MAX}},   {"context_length", {0, UINT64_MAX}},
      {"attention.key_length", {0, UINT64_MAX}},  {"attention.value_length", {0, 8, 32}}};
  for (const char* arch : {"llama", "gemma3"})
    for (const auto& [key, values] : keys)
      for (uint64_t v : values) {
        const std::string name = cat(arch, ".", key);
        const std::string why = refusal(arch, [&](GgufWriter& w) { w.set_u64(name, v); });
        EXPECT_NE(why.find(name), std::string::npos) << v << ": " << why;
      }
  for (uint64_t v : {uint64_t{0}, uint64_t{15}, uint64_t{17}, (uint64_t{1} << 32) + 16})
    EXPECT_NE(refusal("llama", [&](GgufWriter& w) { w.set_u64("llama.rope.dimension_count", v); })
                  .find("llama.rope.dimension_count"),
              std::string::npos)
        << v;
  for (uint64_t v : {uint64_t{0}, uint64_t{1} << 63})
    for (const char* key : {"gemma3.attention.sliding_window_pattern", "gemma3.attention.sliding_window"})
      EXPECT_NE(refusal("gemma3", [&](GgufWriter& w) { w.set_u64(key, v); }).find(key), std::string::npos)
          << v;
  for (float v : {0.0f, -1.0f, NAN, INFINITY})
    for (const char* key : {"llama.rope.freq_base", "llama.attention.layer_norm_rms_epsilon"})
      EXPECT_NE(refusal("llama", [&](GgufWriter& w) { w.set_f32(key, v); }).find(key), std::string::npos)
          << v;
}

TEST(Loader, VariantsThatAreNotComputedAreRefused) {
  const std::vector<std::pair<const char*, Set>> changes = {
      {"llama.expert_used_count", [](GgufWriter& w) { w.set_u32("llama.expert_count", 8); }},
      {"llama.expert_count", [](GgufWriter& w) { w.set_u32("llama.expert_count", 8000); }},
      {"llama.logit_scale", [](GgufWriter& w) { w.set_f32("llama.logit_scale", 0.5f); }},
      {"llama.embedding_scale", [](GgufWriter& w) { w.set_f32("llama.embedding_scale", 12); }},
      {"llama.rope.scaling.type", [](GgufWriter& w) { w.set_string("llama.rope.scaling.type", "ntk"); }},
      {"llama.rope.scaling.factor", [](GgufWriter& w) { w.set_string("llama.rope.scaling.type", "yarn"); }},
      {"llama.attention.sliding_window_pattern",
       [](GgufWriter& w) {
         w.set_i32s("llama.attention.sliding_window_pattern", std::vector<int32_t>{1, 0});
       }},
      {"llama.rope.dimension_count", [](GgufWriter& w) { w.set_u32("llama.rope.dimension_count", 7); }},
      {"blk.0.attn_q_norm.weight",
       [](GgufWriter& w) { TinyFile::tensor(w, "blk.0.attn_q_norm.weight", {16}); }},
      {"blk.1.attn_q.weight", [](GgufWriter& w) {
         TinyFile::tensor(w, "blk.1.attn_q.weight", {32, 32});
       }}};
  for (const auto& [what, change] : changes)
    EXPECT_NE(refusal("llama", change).find(what), std::string::npos) << what;
  // Neutral values say nothing new.
  EXPECT_EQ(refusal("llama",
                    [](GgufWriter& w) {
                      w.set_u32("llama.expert_count", 0);
                      w.set_f32("llama.logit_scale", 1);
                      w.set_string("llama.rope.scaling.type", "none");
                    }),
            "loaded");
}

TEST(Loader, BiasesAndLinearScalingAreHonoured) {
  const std::vector<double> plain = score_of("llama");
  for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"}) {
    const int64_t n = std::string(name) == "attn_k" || std::string(name) == "attn_v"     ? 16
                      : std::string(name) == "ffn_gate" || std::string(name) == "ffn_up" ? 64
                                                                                         : 32;
    const auto biased =
        score_of("llama", [&](GgufWriter& w) { TinyFile::tensor(w, cat("blk.0.", name, ".bias"), {n}); });
    double far = 0;
    for (size_t i = 0; i < plain.size(); ++i) far = std::max(far, std::abs(biased[i] - plain[i]));
    EXPECT_GT(far, 1e-6) << name;
  }
  for (const char* arch : {"llama", "gemma3"}) {
    // One layer is a local one in gemma3 unless the pattern says otherwise.
    auto pattern = [&](GgufWriter& w) {
      if (std::string(arch) == "gemma3") w.set_u32("gemma3.attention.sliding_window_pattern", 1);
    };
    const auto straight = score_of(arch, pattern);
    auto scaled = [&](float factor) {
      return score_of(arch, [&](GgufWriter& w) {
        pattern(w);
        w.set_string(cat(arch, ".rope.scaling.type"), "linear");
        w.set_f32(cat(arch, ".rope.scaling.factor"), factor);
      });
    };
    EXPECT_EQ(scaled(1), straight);
    double far = 0;
    const auto four = scaled(4);
    for (size_t i = 0; i < four.size(); ++i) far = std::max(far, std::abs(four[i] - straight[i]));
    EXPECT_GT(far, 1e-5) << arch;
  }
}

}  // namespace
}  // namespace mc
