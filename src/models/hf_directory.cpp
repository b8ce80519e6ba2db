// A directory of config.json, tokenizer.json and safetensors files as a model in GGUF's terms.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <nlohmann/json.hpp>
#include <optional>

#include "hf_names.h"
#include "hf_tokenizer.h"
#include "loader.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/file.h"
#include "mc/ops.h"
#include "mc/safetensors.h"

namespace mc::models {
namespace {

using Json = nlohmann::json;

// Memory for what can't be used as it stands in the file. A mapping, so that engines may drop its pages as
// they do a file's: the system keeps their contents.
class Scratch {
 public:
  explicit Scratch(size_t bytes) : bytes_(std::max<size_t>(bytes, 1)) {
    const int fd = memfd_create("mc-weights", MFD_CLOEXEC);
    void* p = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, static_cast<off_t>(bytes_)) == 0)
      p = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0) close(fd);
    if (p == MAP_FAILED)
      throw Error(ErrorCode::OutOfMemory, cat("no memory for ", bytes, " bytes of weights"));
    data_ = static_cast<std::byte*>(p);
  }
  ~Scratch() { munmap(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::byte* data() { return data_; }
  std::span<const std::byte> bytes() const { return {data_, bytes_}; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_;
};

// A small file as it lies on the disk; nothing where there is none, or an empty one.
class Mapped {
 public:
  explicit Mapped(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat st {};
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
      size_ = static_cast<size_t>(st.st_size);
      data_ = mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd, 0);
    }
    if (fd >= 0) close(fd);
  }
  ~Mapped() {
    if (data_ != MAP_FAILED) munmap(data_, size_);
  }
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;
  std::span<const std::byte> bytes() const {
    return data_ == MAP_FAILED ? std::span<const std::byte>()
                               : std::span(static_cast<const std::byte*>(data_), size_);
  }

 private:
  void* data_ = MAP_FAILED;
  size_t size_ = 0;
};

// All that the tensors point to, and what else the model's hash is of.
struct Holder {
  SafetensorsSet set;
  std::deque<Mapped> text;  // the configuration, the tokenizer's files
  std::deque<std::string> names;
  std::deque<AffineTensor> affine;
  std::deque<Scratch> scratch;
};

std::optional<GgmlType> ggml_type(const SafetensorsTensor& t) {
  if (t.dtype == Dtype::F32) return GgmlType::F32;
  if (t.dtype == Dtype::F16) return GgmlType::F16;
  if (t.dtype == Dtype::BF16) return GgmlType::BF16;
  return {};
}

class Directory {
 public:
  explicit Directory(std::string path) : path_(std::move(path)), config_path_(path_ + "/config.json") {}

  std::shared_ptr<GgufFile> open() {
    config_ = parse_json(read_small_file(config_path_, 16 << 20), config_path_);
    if (!config_.is_object()) bad("is no JSON object");
    find_architecture();
    metadata();
    hold_->set = SafetensorsSet::open(path_);
    tensors();
    rope_factors();
    std::vector<std::span<const std::byte>> parts = {hold_->text.emplace_back(config_path_).bytes()};
    for (const auto& f : hold_->set.files()) parts.push_back(f->bytes());
    set_tokenizer(writer_, path_ + "/tokenizer.json", config_);
    for (const char* name :
         {"tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"})
      parts.push_back(hold_->text.emplace_back(cat(path_, "/", name)).bytes());
    return GgufFile::assemble(path_, writer_.to_bytes(), std::move(out_), std::move(parts), hold_);
  }

 private:
  [[noreturn]] void bad(const std::string& what, const std::string& next = {}) const {
    throw Error(ErrorCode::BadModel, what, config_path_, next);
  }
  std::string key(std::string_view k) const { return cat(arch_->architecture, ".", k); }

  void find_architecture() {
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
          ErrorCode::UnknownArchitecture, cat("the key model_type is '", name.substr(0, 64), "'"),
          config_path_,
          cat("the nearest that is supported is '", nearest->model_type, "'; supported are ", join(known)));
    for (const char* k : {"quantization_config"})
      if (config_.contains(k) && config_[k].is_object() && !config_.contains("quantization")) {
        const Json method = config_[k].value("quant_method", Json());
        bad(cat("the key quantization_config asks for '",
                method.is_string() ? method.get<std::string>() : "?", "', which is not read"),
            "use the unquantized directory, one of affine groups, or a GGUF file");
      }
  }

  const Json* find(const Json& where, const char* k) const {
    const auto it = where.find(k);
    return it == where.end() || it->is_null() ? nullptr : &*it;
  }
  double number(const Json& v, const std::string& k) const {
    if (!v.is_number()) bad(cat("the key ", k, " is ", v.dump().substr(0, 60), "; expected a number"));
    return v.get<double>();
  }
  uint64_t whole(const Json& v, const std::string& k) const {
    if (!v.is_number_unsigned())
      bad(cat("the key ", k, " is ", v.dump().substr(0, 60), "; expected a whole number"));
    return v.get<uint64_t>();
  }

  // What Transformers takes for keys that are not there, where GGUF's keys mean something else then.
  void defaults() {
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

  void metadata() {
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
  void pooling() {
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
  void require_as_computed() {
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
      bad(cat("the activation is ", act->dump().substr(0, 60), "; ", arch_->model_type,
              " is computed with \"", want, "\""));
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
  void windows() {
    const std::string_view architecture = arch_->architecture;
    const Json* types = find(config_, "layer_types");
    const Json* window = find(config_, "sliding_window");
    const Json* use = find(config_, "use_sliding_window");
    const bool qwen = architecture.starts_with("qwen");
    if (use && !use->is_boolean()) bad("the key use_sliding_window is neither true nor false");
    const bool on = window && (use ? *use == Json(true) : !qwen);
    const uint64_t layers = whole(
        config_.value(arch_->layers == std::string_view("h.") ? "n_layer" : "num_hidden_layers", Json()),
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
  void period(const std::vector<int32_t>& slides) {
    size_t period = 1;
    while (period <= slides.size() && slides[period - 1]) ++period;
    for (size_t i = 0; i < slides.size(); ++i)
      if (!slides[i] != ((i + 1) % period == 0))
        bad(cat("the key layer_types has no period: layer ", i, " breaks that of ", period));
    if (!find(config_, "sliding_window_pattern"))
      writer_.set_u64(key("attention.sliding_window_pattern"), std::max<uint64_t>(period, 1));
  }

  void rope() {
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
    const double context =
        number(config_.value("max_position_embeddings", Json()), "max_position_embeddings");
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

  void synthetic(const char* name, const std::vector<float>& values) {
    hold_->scratch.emplace_back(values.size() * 4);
    std::memcpy(hold_->scratch.back().data(), values.data(), values.size() * 4);
    add(name, GgmlType::F32, {static_cast<int64_t>(values.size())},
        hold_->scratch.back().bytes().first(values.size() * 4));
  }

  // The divisors of the rotary frequencies that llama3's and longrope's scalings mean.
  void rope_factors() {
    if (scaling_kind_ != "llama3" && scaling_kind_ != "longrope") return;
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
        synthetic(k[0] == 'l' ? "rope_factors_long.weight" : "rope_factors_short.weight", f);
      }
      return;
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
    synthetic("rope_freqs.weight", divisors);
  }

  GgufTensor& add(const std::string& name, GgmlType type, const Shape& shape,
                  std::span<const std::byte> data) {
    hold_->names.push_back(name);
    GgufTensor t;
    t.name = hold_->names.back();
    t.type = type;
    t.shape = shape;
    for (int i = shape.ndim() - 1; i >= 0; --i) t.ggml_dims.push_back(shape[i]);
    t.data = data;
    out_.push_back(t);
    return out_.back();
  }

  struct Place {
    std::string name;
    HfLayout layout = HfLayout::Plain;
    bool skip = false;
  };
  static std::optional<std::string> matched(std::string_view pattern, std::string_view name,
                                            const char* gguf) {
    const size_t hole = pattern.find("{}");
    if (hole == std::string_view::npos)
      return pattern == name ? std::optional<std::string>(gguf) : std::nullopt;
    const std::string_view head = pattern.substr(0, hole), tail = pattern.substr(hole + 2);
    if (!name.starts_with(head) || !name.ends_with(tail) || name.size() <= head.size() + tail.size())
      return {};
    const std::string_view number = name.substr(head.size(), name.size() - head.size() - tail.size());
    if (number.size() > 6 || number.find_first_not_of("0123456789") != std::string_view::npos) return {};
    const std::string_view g(gguf);
    const size_t at = g.find("{}");
    return cat(g.substr(0, at), number, g.substr(at + 2));
  }
  // GGUF's name of a tensor without its ".weight"; its own where the table has none.
  Place place(std::string_view stem) const {
    // Where another class was saved: "transformer.h.0", "bert.encoder.layer.0", or without "model.".
    for (std::string_view prefix : {"", "transformer.", "bert.", "language_model.", "+model."}) {
      std::string name(stem);
      if (prefix.starts_with("+"))
        name = cat(prefix.substr(1), stem);
      else if (!prefix.empty() && stem.starts_with(prefix))
        name = std::string(stem.substr(prefix.size()));
      else if (!prefix.empty())
        continue;
      for (const HfName& n : arch_->globals)
        if (auto g = matched(n.hf, name, n.gguf)) return {*g, n.layout, false};
      const std::string_view layers = arch_->layers;
      if (!std::string_view(name).starts_with(layers)) continue;
      const std::string_view rest = std::string_view(name).substr(layers.size());
      const size_t dot = rest.find('.');
      if (dot == std::string_view::npos || dot == 0 || dot > 5 ||
          rest.substr(0, dot).find_first_not_of("0123456789") != std::string_view::npos)
        continue;
      const std::string_view inner = rest.substr(dot + 1);
      // Tables that are computed from the configuration.
      for (std::string_view s : {"self_attn.rotary_emb.inv_freq", "attention.rotary_emb.inv_freq",
                                 "attn.masked_bias", "attention.masked_bias"})
        if (inner == s) return {{}, HfLayout::Plain, true};
      for (const HfName& n : arch_->block)
        if (auto g = matched(n.hf, inner, n.gguf))
          return {cat("blk.", rest.substr(0, dot), ".", *g), n.layout, false};
    }
    return {std::string(stem), HfLayout::Plain,
            stem == "embeddings.position_ids" || stem == "bert.embeddings.position_ids"};
  }

  void tensors() {
    const bool grouped = find(config_, "quantization") != nullptr;
    const bool tied = config_.contains("tie_word_embeddings") && config_["tie_word_embeddings"] == Json(true);
    for (const SafetensorsSet::Entry& e : hold_->set.entries()) {
      const std::string& full = e.tensor->name;
      const size_t dot = full.rfind('.');
      const std::string stem = dot == std::string::npos ? full : full.substr(0, dot);
      std::string leaf = dot == std::string::npos ? "" : full.substr(dot + 1);
      // What BERT's first files call weight and bias of their norms.
      if (stem.ends_with("LayerNorm")) leaf = leaf == "gamma" ? "weight" : leaf == "beta" ? "bias" : leaf;
      if (grouped && (leaf == "scales" || leaf == "biases") && hold_->set.find(stem + ".weight")) continue;
      const bool known = leaf == "weight" || leaf == "bias";
      Place p = place(known ? stem : full);
      if (p.skip) continue;
      // Masks of GPT-2 and GPT-NeoX that are saved beside the weights.
      if (leaf == "bias" && (stem.ends_with(".attn") || stem.ends_with(".attention"))) continue;
      // Heads of BERT that are not computed: what is asked for are its states.
      if (std::string_view(arch_->architecture) == "bert" &&
          (stem.starts_with("pooler.") || stem.starts_with("bert.pooler.") || stem.starts_with("cls.")))
        continue;
      if (tied && p.name == "output") continue;
      if (known) p.name += "." + leaf;
      // GGUF's BERT has its vectors under the same names.
      const SafetensorsSet::Entry* scales =
          grouped && leaf == "weight" ? hold_->set.find(stem + ".scales") : nullptr;
      if (scales) {
        affine(e, *scales, stem, p.name);
        continue;
      }
      const std::optional<GgmlType> type = ggml_type(*e.tensor);
      if (!type)
        throw Error(ErrorCode::BadModel,
                    cat("tensor ", full, " is stored as ", e.tensor->type, "; F32, F16 and BF16 are read"),
                    e.file->path());
      if (e.tensor->shape.ndim() == 0 || e.tensor->shape.ndim() > 3)
        throw Error(ErrorCode::BadModel, cat("tensor ", full, " has shape ", e.tensor->shape.str()),
                    e.file->path());
      std::span<const std::byte> data = e.tensor->data;
      Shape shape = e.tensor->shape;
      const size_t item = itemsize(*e.tensor->dtype);
      if (p.layout == HfLayout::Transposed && shape.ndim() == 2) {
        data = transposed(*e.tensor, item);
        std::swap(shape[0], shape[1]);
      } else if (p.layout == HfLayout::HeadsOfThree) {
        data = heads_apart(*e.tensor);
      } else if (arch_->norms_less_one && shape.ndim() == 1) {
        const Array one = (astype(e.file->array(*e.tensor), Dtype::F32) + 1.0f).eval();
        hold_->scratch.emplace_back(one.nbytes());
        one.to_bytes(hold_->scratch.back().data());
        add(p.name, GgmlType::F32, shape, hold_->scratch.back().bytes().first(one.nbytes()));
        continue;
      } else if (reinterpret_cast<uintptr_t>(data.data()) % item) {
        hold_->scratch.emplace_back(data.size());
        std::memcpy(hold_->scratch.back().data(), data.data(), data.size());
        data = hold_->scratch.back().bytes().first(data.size());
      }
      add(p.name, *type, shape, data);
    }
    // Without the key, the tensors tell.
    const bool decoder = std::string_view(arch_->architecture) != "bert";
    if (decoder && config_.value("tie_word_embeddings", Json()) == Json(false) &&
        std::none_of(out_.begin(), out_.end(), [](const GgufTensor& t) { return t.name == "output.weight"; }))
      bad("the key tie_word_embeddings is false, but no tensor is the output head (lm_head.weight)",
          "the directory lacks weights, or the key should be true");
  }

  std::span<const std::byte> transposed(const SafetensorsTensor& t, size_t item) {
    hold_->scratch.emplace_back(t.data.size());
    std::byte* to = hold_->scratch.back().data();
    const auto rows = static_cast<size_t>(t.shape[0]), columns = static_cast<size_t>(t.shape[1]);
    constexpr size_t kTile = 32;
    for (size_t r0 = 0; r0 < rows; r0 += kTile)
      for (size_t c0 = 0; c0 < columns; c0 += kTile)
        for (size_t r = r0; r < std::min(rows, r0 + kTile); ++r)
          for (size_t c = c0; c < std::min(columns, c0 + kTile); ++c)
            std::memcpy(to + (c * rows + r) * item, t.data.data() + (r * columns + c) * item, item);
    return hold_->scratch.back().bytes().first(t.data.size());
  }

  std::span<const std::byte> heads_apart(const SafetensorsTensor& t) {
    const uint64_t heads = whole(config_["num_attention_heads"], "num_attention_heads");
    const auto rows = static_cast<uint64_t>(t.shape[0]);
    if (heads == 0 || rows % (3 * heads))
      bad(cat("num_attention_heads is ", heads, ", but tensor ", t.name, " has shape ", t.shape.str()));
    const size_t piece = rows / (3 * heads) * (rows ? t.data.size() / rows : 0);
    hold_->scratch.emplace_back(t.data.size());
    std::byte* to = hold_->scratch.back().data();
    for (size_t h = 0; h < heads; ++h)
      for (size_t part = 0; part < 3; ++part)
        std::memcpy(to + (part * heads + h) * piece, t.data.data() + (h * 3 + part) * piece, piece);
    return hold_->scratch.back().bytes().first(t.data.size());
  }

  void affine(const SafetensorsSet::Entry& codes, const SafetensorsSet::Entry& scales,
              const std::string& stem, const std::string& name) {
    auto wrong = [&](const std::string& what) {
      throw Error(ErrorCode::BadModel, cat("tensor ", codes.tensor->name, " ", what), codes.file->path());
    };
    const Json& q = config_["quantization"];
    if (!q.is_object()) bad("the key quantization is no object");
    const Json* own = find(q, stem.c_str());
    const Json& from = own && own->is_object() ? *own : q;
    auto setting = [&](const char* k) {
      const Json* v = find(from, k) ? find(from, k) : find(q, k);
      if (!v) bad(cat("the key quantization.", k, " is missing"));
      return whole(*v, cat("quantization.", k));
    };
    if (const Json* mode = find(from, "mode"); mode && *mode != Json("affine"))
      bad(cat("the key quantization.mode is ", mode->dump().substr(0, 40), "; only \"affine\" is read"));
    const uint64_t bits = setting("bits"), group = setting("group_size");
    if (!(bits == 2 || bits == 3 || bits == 4 || bits == 5 || bits == 6 || bits == 8) ||
        !(group == 32 || group == 64 || group == 128))
      bad(cat("quantization of ", bits, " bits in groups of ", group, " is not read"));
    const SafetensorsSet::Entry* biases = hold_->set.find(stem + ".biases");
    if (!biases) wrong("has scales but no biases");
    const SafetensorsTensor &w = *codes.tensor, &s = *scales.tensor, &b = *biases->tensor;
    if (w.dtype != Dtype::U32 || w.shape.ndim() != 2 || s.shape.ndim() != 2 || !(s.shape == b.shape) ||
        s.shape[0] != w.shape[0] || s.type != b.type || !ggml_type(s))
      wrong(cat("has codes ", w.type, " ", w.shape.str(), ", scales ", s.type, " ", s.shape.str(),
                " and biases ", b.type, " ", b.shape.str(), ", which do not fit together"));
    const int64_t columns = s.shape[1] * static_cast<int64_t>(group);
    if (w.shape[1] * 32 != columns * static_cast<int64_t>(bits))
      wrong(cat("has ", w.shape[1], " words a row; ", columns, " columns of ", bits, " bits take ",
                columns * static_cast<int64_t>(bits) / 32));
    for (const SafetensorsTensor* t : {&w, &s, &b})
      if (reinterpret_cast<uintptr_t>(t->data.data()) % itemsize(*t->dtype))
        wrong("is not aligned in the file");
    hold_->affine.push_back({static_cast<int>(bits), static_cast<int>(group), *ggml_type(s), s.data, b.data});
    add(name, GgmlType::I32, {w.shape[0], columns}, w.data).affine = &hold_->affine.back();
  }

  std::string path_, config_path_;
  std::shared_ptr<Holder> hold_ = std::make_shared<Holder>();
  Json config_;
  const HfArchitecture* arch_ = nullptr;
  GgufWriter writer_;
  std::vector<GgufTensor> out_;
  const Json* scaling_ = nullptr;
  std::string scaling_kind_;
  double base_ = 10000;
  uint64_t head_dim_ = 0;
};

}  // namespace

nlohmann::json parse_json(const std::string& text, const std::string& path) {
  try {
    return Json::parse(text, [&](int depth, Json::parse_event_t, Json&) {
      if (depth > 64) throw Error(ErrorCode::BadFormat, "the JSON nests deeper than 64", path);
      return true;
    });
  } catch (const nlohmann::json::exception&) {
    throw Error(ErrorCode::BadFormat, "the file is not JSON", path);
  }
}

std::shared_ptr<GgufFile> open_directory(const std::string& path) { return Directory(path).open(); }

}  // namespace mc::models
