// Rotary positions and their scalings, attention windows and experts: what several architectures read alike.
#include <algorithm>
#include <cmath>

#include "loader.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/ops.h"

namespace mc::models {

void Loader::rotary(nn::Attention& a, ModelConfig& c) const {
  const int64_t dims = u("rope.dimension_count", c.head_dim, 2, c.head_dim);
  if (dims % 2) refuse("rope.dimension_count", cat(dims), "an even number");
  a.rope.dims = static_cast<int>(dims);
  a.rope.base = c.rope_base;
  const std::string_view kind = file_->string(cat(prefix_, ".rope.scaling.type"), "none");
  if (has("rope_factors_short.weight") || kind == "yarn" || kind == "dynamic" || kind == "longrope")
    scaled_rotary(a, c, has("rope_factors_short.weight") ? "longrope" : kind);
  else
    a.rope.scale = rope_scale();
  if (options_.context > 0) c.context = std::min(c.context, options_.context);
  if (has("rope_freqs.weight")) {  // Llama 3's scaling: divisors of the frequencies
    const int64_t half = dims / 2;
    const Array i = astype(arange(static_cast<int>(half)), Dtype::F32) * (-2.0 / static_cast<double>(dims));
    a.inv_freq = (exp(i * std::log(c.rope_base)) / vector("rope_freqs.weight", half)).eval();
  }
}

void Loader::scaled_rotary(nn::Attention& a, ModelConfig& c, std::string_view kind) const {
  const int64_t dims = a.rope.dims, half = dims / 2;
  const double n = static_cast<double>(dims);
  std::vector<float> freq(static_cast<size_t>(half));
  auto set = [&](auto value) {
    for (int64_t i = 0; i < half; ++i)
      freq[static_cast<size_t>(i)] = static_cast<float>(value(static_cast<double>(i)));
  };
  auto plain = [&](double i) { return std::pow(c.rope_base, -2 * i / n); };
  const int64_t original = u("rope.scaling.original_context_length", c.context, 1, int64_t{1} << 40);
  if (kind == "longrope") {
    // Peng et al. 2023's idea with searched factors (Ding et al. 2024): one set up to the original context,
    // one beyond it.
    const int64_t asked = options_.context ? options_.context : original;
    const bool beyond = asked > original;
    const Array short_factors = vector("rope_factors_short.weight", half),
                long_factors = vector("rope_factors_long.weight", half);
    const std::vector<float> factors = (beyond ? long_factors : short_factors).to_vector<float>();
    set([&](double i) { return plain(i) / static_cast<double>(factors[static_cast<size_t>(i)]); });
    a.rope_magnitude = f("rope.scaling.attn_factor", 1);
    c.context = std::min(c.context, beyond ? asked : original);
  } else if (kind == "dynamic") {
    // The base grows with the text once it passes the original context.
    const double factor = f("rope.scaling.factor"),
                 length = static_cast<double>(std::max(original, options_.context));
    const double grown =
        c.rope_base * std::pow(factor * length / static_cast<double>(original) - (factor - 1), n / (n - 2));
    if (dims < 4) refuse("rope.dimension_count", cat(dims), "4 or more with dynamic scaling");
    set([&](double i) { return std::pow(grown, -2 * i / n); });
    c.context = std::max(original, options_.context);
  } else {
    // YaRN (Peng et al. 2023): slow rotations are stretched by the factor, fast ones kept, a ramp between.
    const double factor = f("rope.scaling.factor");
    auto turns = [&](double rotations) {
      return n * std::log(static_cast<double>(original) / (rotations * 2 * M_PI)) /
             (2 * std::log(c.rope_base));
    };
    if (f("rope.scaling.yarn_log_multiplier", 0.1) != 0.1)
      refuse("rope.scaling.yarn_log_multiplier", cat(f("rope.scaling.yarn_log_multiplier")), "0.1");
    // The ramp's ends are whole frequencies unless the model was trained otherwise (gpt-oss).
    const bool whole = b("rope.scaling.yarn_truncate", true);
    const double fast = turns(f("rope.scaling.yarn_beta_fast", 32)),
                 slowest = turns(f("rope.scaling.yarn_beta_slow", 1));
    const double low = std::max(whole ? std::floor(fast) : fast, 0.0),
                 high = std::min(whole ? std::ceil(slowest) : slowest, n - 1);
    set([&](double i) {
      const double slow = std::clamp((i - low) / std::max(high - low, 0.001), 0.0, 1.0);
      return plain(i) * (slow / factor + 1 - slow);
    });
    a.rope_magnitude = f("rope.scaling.attn_factor", 1) * (factor > 1 ? 0.1 * std::log(factor) + 1 : 1);
    const double reach = factor * static_cast<double>(original);
    if (reach < 0x1p40) c.context = std::max(c.context, static_cast<int64_t>(reach));
  }
  a.inv_freq = Array(freq, {half});
}

std::vector<int64_t> Loader::windows(ModelConfig& c) const {
  c.window = u("attention.sliding_window", 0, 0, int64_t{1} << 40);
  std::vector<int64_t> out(static_cast<size_t>(c.layers), c.window);
  constexpr const char* kKey = "attention.sliding_window_pattern";
  if (const GgufValue* v = file_->find(cat(prefix_, ".", kKey))) {
    const std::vector<int64_t> slides = v->integers();
    if (slides.size() != out.size()) refuse(kKey, v->str(), cat("a list of ", c.layers, " numbers"));
    for (size_t i = 0; i < out.size(); ++i) out[i] = slides[i] ? c.window : 0;
  }
  return out;
}

std::optional<nn::Moe> Loader::moe(int64_t layer, const ModelConfig& c, int64_t ffn) const {
  const int64_t n = u("expert_count", 0, 0, 4096);
  if (n == 0) return {};
  nn::Moe m;
  m.used = u("expert_used_count", 1, n);
  m.normalized = b("expert_weights_norm", true);
  m.router = linear(block(layer, "ffn_gate_inp.weight"), n, c.hidden);
  const std::vector<nn::Linear> gate = experts(block(layer, "ffn_gate_exps.weight"), n, ffn, c.hidden),
                                up = experts(block(layer, "ffn_up_exps.weight"), n, ffn, c.hidden),
                                down = experts(block(layer, "ffn_down_exps.weight"), n, c.hidden, ffn);
  for (size_t e = 0; e < gate.size(); ++e) {
    nn::Mlp& x = m.experts.emplace_back();
    x.gate = gate[e];
    x.up = up[e];
    x.down = down[e];
  }
  return m;
}

}  // namespace mc::models
