// config.json as GGUF's metadata: which architecture, its keys, and what would change the answer.
#include "hf_settings.h"

#include <filesystem>

#include <sys/stat.h>

#include <algorithm>

#include "hf_tokenizer.h"
#include "loader.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/file.h"

namespace mc::models {

using Json = nlohmann::json;

Settings::Settings(std::string directory, GgufWriter& writer)
    : path_(std::move(directory)), config_path_(path_ + "/config.json"), writer_(writer) {
  if (std::error_code ec; !std::filesystem::exists(config_path_, ec))
    throw Error(ErrorCode::FileNotFound, "this folder holds no model: it has no config.json", path_,
                "name a Hugging Face directory (config.json, tokenizer.json, *.safetensors) or a .gguf file");
  config_ = parse_json(read_small_file(config_path_, 16 << 20), config_path_);
  if (!config_.is_object()) bad("is no JSON object");
  find_architecture();
  metadata();
}

void Settings::bad(const std::string& what, const std::string& next) const {
  throw Error(ErrorCode::BadModel, what, config_path_, next);
}
std::string Settings::key(std::string_view k) const { return cat(arch_->architecture, ".", k); }

const Json* Settings::find(const Json& where, const char* k) {
  const auto it = where.find(k);
  return it == where.end() || it->is_null() ? nullptr : &*it;
}
double Settings::number(const Json& v, const std::string& k) const {
  if (!v.is_number()) bad(cat("the key ", k, " is ", v.dump().substr(0, 60), "; expected a number"));
  return v.get<double>();
}
uint64_t Settings::whole(const Json& v, const std::string& k) const {
  if (!v.is_number_unsigned())
    bad(cat("the key ", k, " is ", v.dump().substr(0, 60), "; expected a whole number"));
  return v.get<uint64_t>();
}

void Settings::find_architecture() {
  const Json type = config_.value("model_type", Json());
  if (!type.is_string()) bad("the key model_type is missing or no string");
  const auto& name = type.get_ref<const std::string&>();
  const HfArchitecture* nearest = nullptr;
  size_t best = ~size_t{0};
  std::vector<std::string> known;
  for (const HfArchitecture& a : hf_architectures()) {
    if (name == a.model_type) arch_ = &a;
    known.push_back(a.model_type);
    if (const size_t d = edit_distance(name.substr(0, 64), a.model_type); d < best) best = d, nearest = &a;
  }
  if (!arch_)
    throw Error(
        ErrorCode::UnknownArchitecture, cat("the key model_type is '", name.substr(0, 64), "'"), config_path_,
        cat("the nearest that is supported is '", nearest->model_type, "'; supported are ", join(known)));
  for (const char* k : {"quantization_config"})
    if (config_.contains(k) && config_[k].is_object() && !config_.contains("quantization")) {
      const Json method = config_[k].value("quant_method", Json());
      bad(cat("the key quantization_config asks for '", method.is_string() ? method.get<std::string>() : "?",
              "', which is not read"),
          "use the unquantized directory, one of affine groups, or a GGUF file");
    }
}

// What Transformers takes for keys that are not there, where GGUF's keys mean something else then.
void Settings::defaults() {
  const struct {
    const char *model_type, *key;
    Json value;
  } rows[] = {{"mistral", "sliding_window", 4096U},
              {"mixtral", "rope_theta", 1e6},
              {"qwen3_moe", "norm_topk_prob", false},
              {"gemma2", "query_pre_attn_scalar", 256U},
              {"gemma3_text", "query_pre_attn_scalar", 256U}};
  for (const auto& row : rows)
    if (std::string_view(arch_->model_type) == row.model_type && !config_.contains(row.key))
      config_[row.key] = row.value;
}

void Settings::metadata() {
  defaults();
  writer_.set_string("general.architecture", arch_->architecture);
  std::string name = path_;
  while (name.size() > 1 && name.back() == '/') name.pop_back();
  writer_.set_string("general.name", name.substr(name.rfind('/') + 1));
  for (const HfKey& k : arch_->keys) {
    const Json* v = find(config_, k.hf);
    if (!v && k.required) bad(cat("the key ", k.hf, " is missing"));
    if (!v) continue;
    if (k.kind == 'u') writer_.set_u64(key(k.gguf), whole(*v, k.hf));
    if (k.kind == 'f') writer_.set_f32(key(k.gguf), static_cast<float>(number(*v, k.hf)));
    if (k.kind == 'b') {
      if (!v->is_boolean())
        bad(cat("the key ", k.hf, " is ", v->dump().substr(0, 60), "; expected true or false"));
      writer_.set_bool(key(k.gguf), v->get<bool>());
    }
  }
  if (std::string_view(arch_->architecture) == "gpt2" && !find(config_, "n_inner"))
    writer_.set_u64(key("feed_forward_length"), 4 * whole(config_["n_embd"], "n_embd"));
  if (std::string_view(arch_->architecture) == "bert") {
    writer_.set_bool(key("attention.causal"), false);
    pooling();
  }
  const std::string_view a = arch_->architecture;
  if (a == "gemma2")  // null is none, where GGUF's default is a number
    for (const char* k : {"attn_logit_softcapping", "final_logit_softcapping"})
      if (config_.contains(k) && config_[k].is_null()) writer_.set_f32(key(k), 0);
  for (const char* k : {"head_dim", "sliding_window"})  // whose defaults are no function of other keys
    if ((a.starts_with("gemma") || (a == "qwen3" && k[0] == 'h')) && !find(config_, k))
      bad(cat("the key ", k, " is missing"));
  require_known_keys(config_, *arch_, config_path_);
  rope();
  require_as_computed();
}

// How sentence-transformers' directories make one vector of a text, as GGUF numbers it.
void Settings::pooling() {
  const std::string path = path_ + "/1_Pooling/config.json";
  struct stat st {};
  uint32_t kind = 1;
  if (::stat(path.c_str(), &st) == 0) {
    const Json j = parse_json(read_small_file(path, 1 << 20), path);
    auto is = [&](const char* k) { return j.is_object() && j.value(k, Json()) == Json(true); };
    kind = is("pooling_mode_mean_tokens") ? 1 : is("pooling_mode_cls_token") ? 2 : 0;
    if (kind == 0)
      throw Error(ErrorCode::BadModel, "the pooling is neither that of mean_tokens nor that of cls_token",
                  path);
  }
  writer_.set_u32(key("pooling_type"), kind);
}

// What would change the answer and is not among the keys that models read.
void Settings::require_as_computed() {
  const std::string_view architecture = arch_->architecture;
  const char *want = "silu", *same = "silu";
  if (architecture.starts_with("gemma")) want = same = "gelu_pytorch_tanh";
  if (architecture == "gpt2") want = "gelu_new", same = "gelu_pytorch_tanh";
  if (architecture == "gptneox" || architecture == "bert") want = same = "gelu";
  const Json* act = find(config_, "hidden_activation");
  if (!act) act = find(config_, "hidden_act");
  if (!act) act = find(config_, "activation_function");
  if (architecture == "gptneox" && act) {
    // The tanh form under each of its names.
    const bool tanh =
        *act == Json("gelu_fast") || *act == Json("gelu_new") || *act == Json("gelu_pytorch_tanh");
    writer_.set_bool(key("gelu_tanh"), tanh);
    if (tanh) act = nullptr;
  }
  if (act && *act != Json(want) && *act != Json(same))
    bad(cat("the activation is ", act->dump().substr(0, 60), "; ", arch_->model_type, " is computed with \"",
            want, "\""));
  if (architecture == "gemma3")
    if (const Json* scale = find(config_, "query_pre_attn_scalar")) {
      // The 27B model, known by its 62 layers, scales by the hidden size of a head.
      const bool by_hidden = config_["num_hidden_layers"] == Json(62);
      const double computed = by_hidden ? number(config_["hidden_size"], "hidden_size") /
                                              number(config_["num_attention_heads"], "num_attention_heads")
                                        : static_cast<double>(head_dim_);
      if (number(*scale, "query_pre_attn_scalar") != computed)
        bad(cat("the key query_pre_attn_scalar is ", scale->dump().substr(0, 60),
                "; only the size of a head, ", computed, ", is computed"));
    }
  if (const Json* both = find(config_, "use_bidirectional_attention"); both && *both != Json(false))
    bad("the key use_bidirectional_attention is set; only causal attention is computed");
  windows();
}

// Which layers attend to a window: a list of kinds, or the rules that older files leave to the
// architecture.
void Settings::windows() {
  const std::string_view architecture = arch_->architecture;
  const Json* types = find(config_, "layer_types");
  const Json* window = find(config_, "sliding_window");
  const Json* use = find(config_, "use_sliding_window");
  const bool qwen = architecture.starts_with("qwen");
  if (use && !use->is_boolean()) bad("the key use_sliding_window is neither true nor false");
  const bool on = window && (use ? *use == Json(true) : !qwen);
  const uint64_t layers =
      whole(config_.value(arch_->layers == std::string_view("h.") ? "n_layer" : "num_hidden_layers", Json()),
            "num_hidden_layers");
  if (layers > 4096) bad(cat("the key num_hidden_layers is ", layers, "; expected at most 4096"));
  std::vector<int32_t> slides(layers, on);
  if (types) {
    if (!types->is_array()) bad("the key layer_types is no list");
    for (size_t i = 0; i < types->size(); ++i) {
      const Json& t = (*types)[i];
      const std::string kind = t.is_string() ? t.get<std::string>() : t.dump();
      if (kind != "full_attention" && kind != "sliding_attention")
        bad(cat("the key layer_types has '", kind.substr(0, 60),
                "'; expected full_attention or sliding_attention"));
      if (i >= layers) continue;
      slides[i] = kind == "sliding_attention";
      if (slides[i] && !window)
        bad(cat("layer ", i, " has sliding attention, but there is no sliding_window"));
    }
    if (types->size() < layers)
      bad(cat("the key layer_types names ", types->size(), " of ", layers, " layers"));
  } else if (qwen && on) {
    // All layers from max_window_layers on.
    const Json* from = find(config_, "max_window_layers");
    const uint64_t first = from ? whole(*from, "max_window_layers") : 28;
    for (size_t i = 0; i < layers; ++i) slides[i] = i >= first;
  } else if (architecture == "gemma2") {
    for (size_t i = 0; i < layers; ++i) slides[i] = i % 2 == 0;
  }
  const bool any = std::find(slides.begin(), slides.end(), 1) != slides.end();
  if (any) {
    if (architecture == "gpt2" || architecture == "gptneox" || architecture == "bert")
      bad(cat(arch_->model_type, " is not computed with sliding attention"));
    writer_.set_u64(key("attention.sliding_window"), whole(*window, "sliding_window"));
  }
  if (architecture == "gemma3") {
    if (window && !any) writer_.set_u64(key("attention.sliding_window"), whole(*window, "sliding_window"));
    if (types) period(slides);
  } else if (any) {
    writer_.set_i32s(key("attention.sliding_window_pattern"), slides);
  }
}

// GGUF has gemma3's layers as a period.
void Settings::period(const std::vector<int32_t>& slides) {
  size_t period = 1;
  while (period <= slides.size() && slides[period - 1]) ++period;
  for (size_t i = 0; i < slides.size(); ++i)
    if (!slides[i] != ((i + 1) % period == 0))
      bad(cat("the key layer_types has no period: layer ", i, " breaks that of ", period));
  if (!find(config_, "sliding_window_pattern"))
    writer_.set_u64(key("attention.sliding_window_pattern"), std::max<uint64_t>(period, 1));
}

}  // namespace mc::models
