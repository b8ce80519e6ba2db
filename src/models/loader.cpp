#include "loader.h"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "hf_names.h"
#include "hf_tokenizer.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/ops.h"
#include "mc/system.h"

namespace mc {
namespace models {
namespace {

constexpr const ModelDef* kModels[] = {&kLlama,    &kGemma2, &kGemma3, &kQwen2,   &kQwen3,
                                       &kQwen3Moe, &kPhi3,   &kGpt2,   &kGptNeoX, &kBert};

BlockFormat format_of(GgmlType type) {
  switch (type) {
    case GgmlType::F32: return BlockFormat::F32;
    case GgmlType::F16: return BlockFormat::F16;
    case GgmlType::BF16: return BlockFormat::BF16;
    case GgmlType::Q4_0: return BlockFormat::Q4_0;
    case GgmlType::Q4_1: return BlockFormat::Q4_1;
    case GgmlType::Q5_0: return BlockFormat::Q5_0;
    case GgmlType::Q5_1: return BlockFormat::Q5_1;
    case GgmlType::Q8_0: return BlockFormat::Q8_0;
    case GgmlType::Q4_K: return BlockFormat::Q4_K;
    case GgmlType::Q5_K: return BlockFormat::Q5_K;
    case GgmlType::Q6_K: return BlockFormat::Q6_K;
    default:
      throw Error(ErrorCode::BadModel,
                  cat("tensors of type ", ggml_type_name(type), " can't be computed on"));
  }
}

}  // namespace

std::string block(int64_t layer, std::string_view rest) { return cat("blk.", layer, ".", rest); }

void Loader::refuse(std::string_view key, const std::string& value, const std::string& want) const {
  std::string name = cat("the metadata key ", prefix_, ".", key);
  if (std::error_code ec; std::filesystem::is_directory(file_->path(), ec))  // as its config.json says it
    for (const HfArchitecture& a : hf_architectures())
      for (const HfKey& k : a.keys)
        if (prefix_ == a.architecture && key == k.gguf) name = cat("the key ", k.hf, " of config.json");
  throw Error(ErrorCode::BadModel, cat(name, " is ", value, "; expected ", want), file_->path());
}
const GgufTensor& Loader::take(const std::string& tensor) const {
  taken_.insert(tensor);
  return file_->require_tensor(tensor);
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t up = row[j];
      row[j] = std::min({up + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = up;
    }
  }
  return row[b.size()];
}

int64_t Loader::u(std::string_view key, int64_t lo, int64_t hi) const {
  read_.emplace(key);
  const uint64_t v = file_->require_u64(cat(prefix_, ".", key));
  if (v < static_cast<uint64_t>(lo) || v > static_cast<uint64_t>(hi))
    refuse(key, cat(v), cat(lo, " to ", hi));
  return static_cast<int64_t>(v);
}
int64_t Loader::u(std::string_view key, int64_t fallback, int64_t lo, int64_t hi) const {
  return file_->find(cat(prefix_, ".", key)) ? u(key, lo, hi) : fallback;
}
double Loader::f(std::string_view key) const {
  read_.emplace(key);
  const double v = file_->require_f32(cat(prefix_, ".", key));
  if (!(v > 0) || !std::isfinite(v)) refuse(key, cat(v), "a number above 0");
  return v;
}
double Loader::f(std::string_view key, double fallback) const {
  return file_->find(cat(prefix_, ".", key)) ? f(key) : fallback;
}

double Loader::cap(std::string_view key, double fallback) const {
  read_.emplace(key);
  const std::string name = cat(prefix_, ".", key);
  if (!file_->find(name)) return fallback;
  const double v = file_->require_f32(name);
  if (!(v >= 0) || !std::isfinite(v)) refuse(key, cat(v), "0 or more");
  return v;
}
bool Loader::b(std::string_view key, bool fallback) const {
  read_.emplace(key);
  return file_->boolean(cat(prefix_, ".", key), fallback);
}

double Loader::rope_scale() const {
  const std::string_view kind = file_->string(cat(prefix_, ".rope.scaling.type"), "none");
  if (kind == "linear") return 1 / f("rope.scaling.factor");
  if (kind != "none")
    refuse("rope.scaling.type", cat("'", kind.substr(0, 40), "'"), "none, linear, yarn, dynamic or longrope");
  // Older files: a factor without a type is linear.
  return file_->find(cat(prefix_, ".rope.scale_linear")) ? 1 / f("rope.scale_linear") : 1;
}

void Loader::require_all_used() const {
  // Neutral values of what other variants of these architectures set.
  constexpr std::pair<const char*, double> kNeutral[] = {{"expert_count", 0},
                                                         {"expert_used_count", 0},
                                                         {"logit_scale", 1},
                                                         {"embedding_scale", 1},
                                                         {"residual_scale", 1},
                                                         {"attention.scale", 0},
                                                         {"attn_logit_softcapping", 0},
                                                         {"final_logit_softcapping", 0},
                                                         {"attention.clamp_kqv", 0},
                                                         {"attention.max_alibi_bias", 0}};
  for (const auto& [key, neutral] : kNeutral) {
    const std::string name = cat(prefix_, ".", key);
    const GgufValue* v = file_->find(name);
    if (!v || read_.count(key)) continue;
    const double got =
        v->as_i64() ? static_cast<double>(*v->as_i64()) : static_cast<double>(file_->f32(name, NAN));
    if (got != neutral && got != 0)
      refuse(key, v->str(), "none: this variant of the architecture is not supported");
  }
  if (const GgufValue* v = file_->find(cat(prefix_, ".attention.causal"));
      v && v->str() == "false" && !read_.count("attention.causal"))
    refuse("attention.causal", "false", "a causal model");
  for (const auto& [name, array] : options_.weights)
    if (!taken_.count(name)) {
      const std::string* near = nullptr;
      for (const std::string& t : taken_)
        if (!near || edit_distance(t, name) < edit_distance(*near, name)) near = &t;
      throw Error(ErrorCode::InvalidArgument, cat("the model has no weight '", name, "'"), "weights",
                  near ? cat("the nearest is ", *near) : "");
    }
  std::string left;
  size_t count = 0;
  for (const GgufTensor& t : file_->tensors())
    if (!taken_.count(t.name) && ++count <= 3) left += cat(left.empty() ? "" : ", ", t.name);
  if (count)
    throw Error(ErrorCode::BadModel,
                cat(count, " tensor(s) of the file have no place in the architecture '", prefix_, "': ", left,
                    count > 3 ? ", …" : ""),
                file_->path(), "the file is of a variant that is not supported");
}

nn::Linear Loader::view(const GgufTensor& t, int64_t in, int64_t first, int64_t rows) const {
  nn::Linear l;
  l.fast = options_.fast;
  l.noise = options_.noise;
  auto part = [&](std::span<const std::byte> data, int64_t columns, Dtype dtype) {
    const size_t row = static_cast<size_t>(columns) * itemsize(dtype);
    return Array::wrap(data.data() + static_cast<size_t>(first) * row, {rows, columns}, dtype, file_,
                       Memory::MappedFile);
  };
  if (const AffineTensor* a = t.affine) {
    const Dtype scale = a->type == GgmlType::F32   ? Dtype::F32
                        : a->type == GgmlType::F16 ? Dtype::F16
                                                   : Dtype::BF16;
    QTensor q;
    q.kind = QTensor::Kind::Affine;
    q.shape = {rows, in};
    q.bits = a->bits;
    q.group = a->group;
    q.parts = {part(t.data, in * a->bits / 32, Dtype::U32), part(a->scales, in / a->group, scale),
               part(a->biases, in / a->group, scale)};
    l.packed = options_.quantize.bits ? quantized(t, q) : std::move(q);
    return l;
  }
  const BlockFormat format = format_of(t.type);
  const int64_t row = in / block_elements(format) * block_bytes(format);
  l.packed = block_tensor(part(t.data, row, Dtype::U8), format, {rows, in});
  if (options_.quantize.bits) l.packed = quantized(t, *l.packed);
  return l;
}

nn::Linear Loader::linear(const std::string& tensor, int64_t out, int64_t in) const {
  return linear_rows(tensor, out, in, 0, out);
}

nn::Linear Loader::linear_rows(const std::string& tensor, int64_t total, int64_t in, int64_t first,
                               int64_t rows) const {
  const GgufTensor& t = take(tensor);
  const Shape want{total, in};
  if (!(t.shape == want))
    throw Error(ErrorCode::BadModel,
                cat("tensor ", tensor, " has shape ", t.shape.str(), ", the metadata ask for ", want.str()),
                file_->path());
  nn::Linear l;
  if (const Array w = given(tensor, want); w.defined()) {
    l.dense = rows == total ? w : slice_axis(w, 0, first, first + rows);
    l.noise = options_.noise;
  } else {
    l = view(t, in, first, rows);
  }
  if (tensor.ends_with(".weight")) {
    const std::string bias = tensor.substr(0, tensor.size() - 6) + "bias";
    if (has(bias)) {
      l.bias = vector(bias, total);
      if (rows != total) l.bias = settled(slice(l.bias, {first}, {first + rows}));
    }
  }
  weights_.emplace_back(tensor, l);
  return l;
}

std::vector<nn::Linear> Loader::experts(const std::string& tensor, int64_t n, int64_t out, int64_t in) const {
  std::vector<nn::Linear> list;
  if (has(tensor)) {
    const GgufTensor& t = take(tensor);
    const Shape want{n, out, in};
    if (!(t.shape == want))
      throw Error(ErrorCode::BadModel,
                  cat("tensor ", tensor, " has shape ", t.shape.str(), ", the metadata ask for ", want.str()),
                  file_->path());
    const Array own = given(tensor, want);
    for (int64_t e = 0; e < n; ++e) {
      if (own.defined())
        list.emplace_back().dense = reshape(slice_axis(own, 0, e, e + 1), {out, in});
      else
        list.push_back(view(t, in, e * out, out));
      weights_.emplace_back(cat(tensor, "[", e, "]"), list.back());
    }
    return list;
  }
  const size_t at = tensor.find("_exps.weight");
  for (int64_t e = 0; e < n; ++e)
    list.push_back(linear(cat(tensor.substr(0, at), ".", e, ".weight"), out, in));
  return list;
}

QTensor Loader::quantized(const GgufTensor& tensor, const QTensor& w) const {
  const LoadQuantize& q = options_.quantize;
  if (w.shape[1] % q.group != 0)
    throw Error(
        ErrorCode::InvalidArgument,
        cat("tensor ", tensor.name, " has rows of ", w.shape[1], ", which are no whole groups of ", q.group),
        "--quantize",
        w.shape[1] % 64 == 0   ? "use a group of 64 or 32"
        : w.shape[1] % 32 == 0 ? "use a group of 32"
                               : "this model can't be converted: no group of 32, 64 or 128 fits");
  if (tensor.affine)
    requantized_.insert(cat("affine", tensor.affine->bits, ":", tensor.affine->group));
  else if (tensor.type != GgmlType::F32 && tensor.type != GgmlType::F16 && tensor.type != GgmlType::BF16)
    requantized_.insert(ggml_type_name(tensor.type));
  const DeviceScope scope(host_device());
  // In slabs: a whole vocabulary in float32 would be the load's peak of memory.
  constexpr int64_t kSlab = 16384;
  std::vector<Arrays> parts(3);
  for (int64_t at = 0; at < w.shape[0]; at += kSlab) {
    const int64_t end = std::min(at + kSlab, w.shape[0]);
    QTensor slab = w;
    slab.shape[0] = end - at;
    for (Array& part : slab.parts) part = slice_axis(part, 0, at, end);
    const QTensor one = quantize_affine(astype(dequantize(slab), q.scales), q.group, q.bits);
    eval(one.parts);
    for (size_t i = 0; i < 3; ++i) parts[i].push_back(one.parts[i]);
  }
  QTensor out;
  out.shape = w.shape;
  out.bits = q.bits;
  out.group = q.group;
  for (const Arrays& p : parts) {
    const auto whole = std::make_shared<Array>(p.size() == 1 ? p[0] : concatenate(p, 0));
    whole->eval();
    // As a constant: engines may keep a packed form of their own.
    out.parts.push_back(
        Array::wrap(whole->host_data(), whole->shape(), whole->dtype(), whole, Memory::Constant));
  }
  return out;
}

Array Loader::given(const std::string& tensor, const Shape& shape) const {
  const auto it = options_.weights.find(tensor);
  if (it == options_.weights.end()) return {};
  if (!(it->second.shape() == shape))
    throw Error(ErrorCode::ShapeMismatch,
                cat("the array for ", tensor, " has shape ", it->second.shape().str(),
                    ", the model's weight ", shape.str()),
                "weights");
  return it->second;
}

Array Loader::settled(const Array& a) const { return options_.weights.empty() ? a.eval() : a; }

Array Loader::table(const std::string& tensor, int64_t rows, int64_t columns) const {
  const nn::Linear l = linear(tensor, rows, columns);
  return l.packed ? astype(dequantize(*l.packed), Dtype::F32).eval() : l.dense;
}

Array Loader::vector(const std::string& tensor, int64_t n) const {
  const GgufTensor& t = take(tensor);
  if (const Array w = given(tensor, {n}); w.defined()) return w;
  if (t.shape.ndim() != 1 || t.shape[0] != n)
    throw Error(ErrorCode::BadModel,
                cat("tensor ", tensor, " has shape ", t.shape.str(), ", the metadata ask for (", n, ",)"),
                file_->path());
  const Dtype dtype = t.type == GgmlType::F32   ? Dtype::F32
                      : t.type == GgmlType::F16 ? Dtype::F16
                                                : Dtype::BF16;
  if (t.type != GgmlType::F32 && t.type != GgmlType::F16 && t.type != GgmlType::BF16)
    throw Error(
        ErrorCode::BadModel,
        cat("tensor ", tensor, " has type ", ggml_type_name(t.type), "; a vector is F32, F16 or BF16"),
        file_->path());
  Array a = astype(Array::wrap(t.data.data(), {n}, dtype, file_, Memory::MappedFile), Dtype::F32);
  return a.eval();
}

void Loader::attention(nn::Attention& a, int64_t layer, const ModelConfig& c) const {
  a.heads = c.heads;
  a.kv_heads = c.kv_heads;
  a.head_dim = c.head_dim;
  a.q = linear(block(layer, "attn_q.weight"), c.heads * c.head_dim, c.hidden);
  a.k = linear(block(layer, "attn_k.weight"), c.kv_heads * c.head_dim, c.hidden);
  a.v = linear(block(layer, "attn_v.weight"), c.kv_heads * c.head_dim, c.hidden);
  a.o = linear(block(layer, "attn_output.weight"), c.hidden, c.heads * c.head_dim);
}

void Loader::fused_attention(nn::Attention& a, int64_t layer, const ModelConfig& c) const {
  a.heads = c.heads;
  a.kv_heads = c.kv_heads;
  a.head_dim = c.head_dim;
  a.qkv = linear(block(layer, "attn_qkv.weight"), (c.heads + 2 * c.kv_heads) * c.head_dim, c.hidden);
  a.o = linear(block(layer, "attn_output.weight"), c.hidden, c.heads * c.head_dim);
}

nn::Mlp Loader::plain_mlp(int64_t layer, const ModelConfig& c, nn::Activation activation) const {
  nn::Mlp m;
  m.activation = activation;
  m.up = linear(block(layer, "ffn_up.weight"), c.ffn, c.hidden);
  m.down = linear(block(layer, "ffn_down.weight"), c.hidden, c.ffn);
  return m;
}

nn::Mlp Loader::gated_mlp(int64_t layer, const ModelConfig& c, nn::Activation activation) const {
  nn::Mlp m;
  m.activation = activation;
  m.gate = linear(block(layer, "ffn_gate.weight"), c.ffn, c.hidden);
  m.up = linear(block(layer, "ffn_up.weight"), c.ffn, c.hidden);
  m.down = linear(block(layer, "ffn_down.weight"), c.hidden, c.ffn);
  return m;
}

nn::Linear Loader::head(const nn::Embedding& embedding, const ModelConfig& c) const {
  return has("output.weight") ? linear("output.weight", c.vocab, c.hidden) : embedding.table;
}

ModelConfig Loader::config() const {
  ModelConfig c;
  c.architecture = prefix_;
  c.name = std::string(file_->string("general.name", ""));
  c.layers = u("block_count", 1, 4096);
  c.hidden = u("embedding_length", 1, 1 << 20);
  c.heads = u("attention.head_count", 1, 1 << 16);
  c.kv_heads = u("attention.head_count_kv", c.heads, 1, c.heads);
  c.ffn = u("feed_forward_length", 1, 1 << 24);
  c.context = u("context_length", 1, int64_t{1} << 40);
  c.norm_eps = file_->find(cat(prefix_, ".attention.layer_norm_epsilon"))
                   ? f("attention.layer_norm_epsilon")
                   : f("attention.layer_norm_rms_epsilon");
  c.rope_base = f("rope.freq_base", 10000.0);
  c.head_dim = u("attention.key_length", std::max<int64_t>(1, c.hidden / c.heads), 1, 1 << 16);
  u("attention.value_length", c.head_dim, c.head_dim, c.head_dim);
  if (c.heads % c.kv_heads != 0 || c.head_dim % 2 != 0)
    throw Error(ErrorCode::BadModel,
                cat(c.heads, " heads, ", c.kv_heads, " key-value heads and a head dimension of ", c.head_dim,
                    " do not fit together"),
                file_->path());
  const GgufTensor& embed = file_->require_tensor("token_embd.weight");
  if (embed.shape.ndim() != 2 || embed.shape[1] != c.hidden)
    throw Error(ErrorCode::BadModel,
                cat("tensor token_embd.weight has shape ", embed.shape.str(),
                    ", the metadata ask for (vocabulary, ", c.hidden, ")"),
                file_->path());
  c.vocab = embed.shape[0];
  return c;
}

}  // namespace models

std::vector<std::string> supported_architectures() {
  std::vector<std::string> out;
  for (const models::ModelDef* m : models::kModels) out.push_back(m->architecture);
  return out;
}

std::shared_ptr<GgufFile> open_model_file(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return models::open_directory(path);
  return GgufFile::open(path);
}

std::shared_ptr<Tokenizer> load_tokenizer(const std::string& path) {
  struct stat st {};
  const bool directory = ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
  if (directory) return Tokenizer::from_gguf(*models::tokenizer_file(path + "/tokenizer.json"));
  if (path.ends_with(".json")) return Tokenizer::from_gguf(*models::tokenizer_file(path));
  return Tokenizer::from_gguf(*GgufFile::open(path));
}

LoadQuantize parse_quantize(const std::string& text) {
  for (int bits : {4, 8})
    for (int group : {64, 32, 128})
      if (text == cat("affine", bits, ":", group) || (group == 64 && text == cat("affine", bits)))
        return {bits, group};
  throw Error(ErrorCode::InvalidArgument, cat("weights can't be converted to '", text, "'"), "--quantize",
              "use affine4 or affine8, with a group of 32, 64 or 128 behind a colon: affine4:32");
}

std::shared_ptr<Model> load_model(const std::string& path, const LoadOptions& options) {
  if (options.dtype != Dtype::F64 && options.dtype != Dtype::F32 && options.dtype != Dtype::BF16 &&
      options.dtype != Dtype::F16)
    throw Error(ErrorCode::DtypeMismatch, cat("activations can't be ", dtype_name(options.dtype)), "dtype",
                "use float32, bfloat16 or float16");
  std::shared_ptr<GgufFile> file = open_model_file(path);
  const std::string architecture(file->require_string("general.architecture"));
  for (const models::ModelDef* m : models::kModels) {
    if (architecture != m->architecture) continue;
    file->require_computable();
    const models::Loader loader(file, architecture, options);
    std::shared_ptr<Model> model = m->load(loader);
    model->weights_ = loader.weights();
    model->file_ = file;
    model->dtype_ = options.dtype;
    model->noise_ = options.noise;
    model->requantized_ = loader.requantized();
    model->tokenizer_ = Tokenizer::from_gguf(*file);
    if (model->tokenizer_->vocab_size() > model->config_.vocab)
      throw Error(ErrorCode::BadModel,
                  cat("the tokenizer has ", model->tokenizer_->vocab_size(), " tokens, the embedding only ",
                      model->config_.vocab),
                  path);
    return model;
  }
  const std::string name = architecture.substr(0, 64);
  std::string near;
  for (const std::string& a : supported_architectures())
    if (near.empty() || models::edit_distance(name, a) < models::edit_distance(name, near)) near = a;
  throw Error(
      ErrorCode::UnknownArchitecture, cat("the metadata key general.architecture is '", name, "'"), path,
      cat("the nearest that is supported is '", near, "'; supported are ", join(supported_architectures())));
}

int64_t Model::cache_capacity(int64_t tokens) {
  int64_t c = 256;
  while (c < tokens) c *= 2;
  return c;
}

std::vector<nn::KvCache> Model::make_cache(int64_t rows, int64_t tokens) const {
  std::vector<nn::KvCache> out;
  const Shape shape{rows, config_.kv_heads, cache_capacity(tokens), config_.head_dim};
  // All of it at once: memory that was taken but not yet touched still looks free.
  double bytes = 2.0 * static_cast<double>(config_.layers) * static_cast<double>(itemsize(dtype_));
  for (int64_t d : shape) bytes *= static_cast<double>(d);
  if (const size_t free = available_memory(); free && bytes > 0.95 * static_cast<double>(free))
    throw Error(ErrorCode::OutOfMemory,
                cat("a key-value cache of ", rows, " rows and ", shape[2], " tokens takes ",
                    static_cast<int64_t>(bytes / 1e6), " MB; ", free / 1000000, " MB are free"),
                "cache", "use fewer rows at once (--batch-size), a shorter context or --dtype bf16");
  Arrays all;
  for (int64_t l = 0; l < config_.layers; ++l) {
    out.push_back({zeros(shape, dtype_), zeros(shape, dtype_)});
    all.push_back(out.back().k);
    all.push_back(out.back().v);
  }
  eval(all);
  return out;
}

void Model::overflowed() const {
  throw Error(ErrorCode::NotFinite,
              cat("activations of ", config_.name.empty() ? config_.architecture : config_.name,
                  " pass the largest number of ", dtype_name(dtype_)),
              "dtype", "use bfloat16 or float32 (--dtype bf16 or f32)");
}

int Model::layer_index(int64_t layer) const {
  const int64_t l = layer < 0 ? layer + config_.layers : layer;
  if (l < 0 || l >= config_.layers)
    throw Error(ErrorCode::UnknownLayer, cat("layer ", layer, " is not in the model"), "layers",
                cat("it has ", config_.layers, " layers: use 0 to ", config_.layers - 1, ", or -",
                    config_.layers, " to -1"));
  return static_cast<int>(l);
}

}  // namespace mc
