// config.json's rotary positions: base, part and scaling as GGUF has them.
#include <algorithm>
#include <cmath>

#include "hf_settings.h"
#include "mc/detail/str.h"

namespace mc::models {

using Json = nlohmann::json;

void Settings::rope() {
  // Newer files keep base and scaling together.
  const Json* p = find(config_, "rope_parameters");
  const Json* scaling = p ? p : find(config_, "rope_scaling");
  if (scaling && !scaling->is_object()) bad("the rope scaling is no object");
  if (const Json* layers = p ? find(*p, "full_attention") : nullptr) {
    if (!layers->is_object()) bad("the key rope_parameters.full_attention is no object");
    scaling = layers;
    if (const Json* local = find(*p, "sliding_attention")) {
      if (!local->is_object()) bad("the key rope_parameters.sliding_attention is no object");
      for (const auto& [k, v] : local->items())
        if (k != "rope_theta" && !(k == "rope_type" && v == Json("default")))
          bad(cat("the key rope_parameters.sliding_attention.", k.substr(0, 60), " is ",
                  v.dump().substr(0, 60), ", which is not computed"));
      if (const Json* base = find(*local, "rope_theta"); base && !find(config_, "rope_local_base_freq"))
        writer_.set_f32(key("rope.freq_base_swa"), static_cast<float>(number(*base, "rope_theta")));
    }
  }
  const Json* base = scaling ? find(*scaling, "rope_theta") : nullptr;
  if (!base) base = find(config_, "rope_theta");
  if (!base) base = find(config_, "rotary_emb_base");
  base_ = base ? number(*base, "rope_theta") : 10000;
  if (base) writer_.set_f32(key("rope.freq_base"), static_cast<float>(base_));
  head_dim_ = 0;
  if (find(config_, "hidden_size") && find(config_, "num_attention_heads")) {
    const uint64_t heads = whole(config_["num_attention_heads"], "num_attention_heads");
    if (heads == 0) bad("the key num_attention_heads is 0");
    head_dim_ = whole(config_["hidden_size"], "hidden_size") / heads;
    if (const Json* d = find(config_, "head_dim")) head_dim_ = whole(*d, "head_dim");
  }
  const Json* part = find(config_, "rotary_pct");
  if (!part) part = find(config_, "partial_rotary_factor");
  if (!part && scaling) part = find(*scaling, "partial_rotary_factor");
  const Json quarter(0.25);
  if (!part && std::string_view(arch_->architecture) == "gptneox") part = &quarter;
  if (part) {
    const double f = number(*part, "partial_rotary_factor");
    if (!(f > 0 && f <= 1)) bad(cat("the rotary part is ", f, "; expected above 0 and at most 1"));
    writer_.set_u64(key("rope.dimension_count"), static_cast<uint64_t>(f * static_cast<double>(head_dim_)));
  }
  if (!scaling) return;
  const Json* type = find(*scaling, "rope_type");
  if (!type) type = find(*scaling, "type");
  if (type && !type->is_string()) bad(cat("the rope scaling's type is ", type->dump().substr(0, 60)));
  std::string kind = type ? type->get<std::string>() : "default";
  if (kind == "su") kind = "longrope";  // the name that the first files had
  constexpr std::pair<const char*, const char*> kFields[] = {
      {"default", ""},
      {"linear", "factor"},
      {"dynamic", "factor original_max_position_embeddings"},
      {"llama3", "factor low_freq_factor high_freq_factor original_max_position_embeddings"},
      {"yarn",
       "factor original_max_position_embeddings attention_factor beta_fast beta_slow mscale mscale_all_dim "
       "truncate finetuned"},
      {"longrope", "short_factor long_factor original_max_position_embeddings factor attention_factor"}};
  const auto* fields = std::find_if(std::begin(kFields), std::end(kFields),
                                    [&](const auto& row) { return kind == row.first; });
  if (fields == std::end(kFields))
    bad(cat("the rope scaling is '", kind.substr(0, 40),
            "'; supported are default, linear, dynamic, llama3, yarn, longrope"));
  for (const auto& [k, v] : scaling->items()) {
    const std::string known = cat(" rope_type type rope_theta partial_rotary_factor ", fields->second, " ");
    if (!v.is_null() && known.find(cat(" ", k, " ")) == std::string::npos)
      bad(cat("the rope scaling '", kind, "' has the key ", k.substr(0, 60), ", which is not read"));
  }
  if (kind == "default") return;
  scaling_ = scaling;
  scaling_kind_ = kind;
  if (kind == "llama3") return;  // becomes a tensor, as in GGUF
  auto get = [&](const char* k, double fallback = NAN) {
    const Json* v = find(*scaling, k);
    const double x = v ? number(*v, k) : fallback;
    if (!(x > 0) || !std::isfinite(x))
      bad(v ? cat("the rope scaling has ", k, " ", x) : cat("the rope scaling '", kind, "' has no ", k));
    return x;
  };
  const double context = number(config_.value("max_position_embeddings", Json()), "max_position_embeddings");
  const Json* first = find(*scaling, "original_max_position_embeddings");
  if (!first) first = find(config_, "original_max_position_embeddings");
  const double original = first ? number(*first, "original_max_position_embeddings") : context;
  if (!(original >= 1) || !(original < 0x1p40))
    bad(cat("the key original_max_position_embeddings is ", original));
  writer_.set_string(key("rope.scaling.type"), kind);
  if (kind != "linear")
    writer_.set_u64(key("rope.scaling.original_context_length"), static_cast<uint64_t>(original));
  auto set = [&](const char* k, double v) { writer_.set_f32(key(k), static_cast<float>(v)); };
  if (kind == "longrope") {
    const double ratio = get("factor", context / original);
    set("rope.scaling.attn_factor",
        get("attention_factor", ratio > 1 ? std::sqrt(1 + std::log(ratio) / std::log(original)) : 1));
    return;
  }
  const double factor = get("factor");
  set("rope.scaling.factor", factor);
  if (kind != "yarn") return;
  if (const Json* t = find(*scaling, "truncate")) {
    if (!t->is_boolean()) bad("the rope scaling's truncate is neither true nor false");
    writer_.set_bool(key("rope.scaling.yarn_truncate"), t->get<bool>());
  }
  set("rope.scaling.yarn_beta_fast", get("beta_fast", 32));
  set("rope.scaling.yarn_beta_slow", get("beta_slow", 1));
  auto grown = [&](double m) { return factor > 1 ? 0.1 * m * std::log(factor) + 1 : 1; };
  const bool both = find(*scaling, "mscale") && find(*scaling, "mscale_all_dim");
  const double magnitude =
      get("attention_factor", both ? grown(get("mscale")) / grown(get("mscale_all_dim")) : grown(1));
  set("rope.scaling.attn_factor", magnitude / grown(1));  // GGUF has what is beside the usual growth
}

// The divisors of the rotary frequencies that llama3's and longrope's scalings mean.
std::vector<Settings::RopeFactors> Settings::rope_factors() const {
  if (scaling_kind_ != "llama3" && scaling_kind_ != "longrope") return {};
  std::vector<RopeFactors> out;
  auto get = [&](const char* k) {
    const Json* v = find(*scaling_, k);
    if (!v) bad(cat("the rope scaling '", scaling_kind_, "' has no ", k));
    const double x = number(*v, k);
    if (!(x > 0) || !std::isfinite(x)) bad(cat("the rope scaling has ", k, " ", x));
    return x;
  };
  if (scaling_kind_ == "longrope") {
    for (const char* k : {"long_factor", "short_factor"}) {
      const Json* v = find(*scaling_, k);
      if (!v || !v->is_array() || v->size() > 4096) bad(cat("the rope scaling has no list ", k));
      std::vector<float> f;
      for (const Json& x : *v) f.push_back(static_cast<float>(number(x, k)));
      out.push_back({k[0] == 'l' ? "rope_factors_long.weight" : "rope_factors_short.weight", std::move(f)});
    }
    return out;
  }
  const double factor = get("factor"), low = get("low_freq_factor"), high = get("high_freq_factor"),
               old = get("original_max_position_embeddings");
  if (!(high > low) || head_dim_ < 2 || head_dim_ > 65536)
    bad("the rope scaling's factors do not fit together");
  std::vector<float> divisors;
  for (uint64_t i = 0; i < head_dim_ / 2; ++i) {
    const double wave =
        2 * M_PI * std::pow(base_, 2.0 * static_cast<double>(i) / static_cast<double>(head_dim_));
    double d = 1;
    if (wave > old / low) {
      d = factor;
    } else if (wave > old / high) {
      const double smooth = (old / wave - low) / (high - low);
      d = 1 / ((1 - smooth) / factor + smooth);
    }
    divisors.push_back(static_cast<float>(d));
  }
  out.push_back({"rope_freqs.weight", std::move(divisors)});
  return out;
}

}  // namespace mc::models
