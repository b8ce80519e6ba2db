// What every architecture's file uses: typed access to weights, with errors that name tensor and file.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "mc/model.h"

namespace mc::models {

class Loader {
 public:
  Loader(std::shared_ptr<GgufFile> file, std::string architecture, LoadOptions options)
      : file_(std::move(file)), prefix_(std::move(architecture)), options_(std::move(options)) {}

  const GgufFile& file() const { return *file_; }
  // Metadata under the architecture's prefix: u("block_count") reads llama.block_count.
  // Values outside [lo, hi] (f: not above 0 or not finite) throw BadModel with key, value and range.
  int64_t u(std::string_view key, int64_t lo, int64_t hi) const;
  int64_t u(std::string_view key, int64_t fallback, int64_t lo, int64_t hi) const;
  double f(std::string_view key) const;
  double f(std::string_view key, double fallback) const;
  // Of a cap that may be 0 for none.
  double cap(std::string_view key, double fallback) const;
  bool b(std::string_view key, bool fallback) const;
  // What the rotary positions are multiplied by: 1/factor of linear scaling; other kinds throw BadModel.
  double rope_scale() const;
  // Whether rotary pairs are neighbours in the rows of queries and keys: GGUF's llama is permuted so, Hugging
  // Face's files never are.
  bool rope_neighbours() const { return !file_->assembled(); }
  // Throws BadModel for what would change the answer and is not computed here: metadata of other variants of
  // the architecture, and tensors that nobody asked for. Call it last.
  void require_all_used() const;
  bool has(std::string_view tensor) const { return file_->find_tensor(tensor) != nullptr; }

  // (out, in), any computable type, mapped; with the bias of the same name if the file has one.
  nn::Linear linear(const std::string& tensor, int64_t out, int64_t in) const;
  // Rows first … first + rows - 1 of a fused tensor (total, in), as a view; its bias's likewise.
  nn::Linear linear_rows(const std::string& tensor, int64_t total, int64_t in, int64_t first,
                         int64_t rows) const;
  // The weights (out, in) of each of n experts: slices of "blk.0.ffn_up_exps.weight" (n, out, in), or, where
  // the file has them apart, "blk.0.ffn_up.0.weight" ….
  std::vector<nn::Linear> experts(const std::string& tensor, int64_t n, int64_t out, int64_t in) const;
  // (n,) float32.
  Array vector(const std::string& tensor, int64_t n) const;
  nn::Norm norm(const std::string& tensor, int64_t n, double eps) const {
    return {vector(tensor, n), {}, eps, false};
  }
  // Of "stem.weight" and "stem.bias".
  nn::Norm layer_norm(const std::string& stem, int64_t n, double eps) const {
    return {vector(stem + ".weight", n), vector(stem + ".bias", n), eps, true};
  }
  // Computed now, unless the options' weights may be of a traced function.
  Array settled(const Array& a) const;
  // (rows, columns) float32, whatever the file stores.
  Array table(const std::string& tensor, int64_t rows, int64_t columns) const;
  // Parts that architectures share, by GGUF's names: the sizes and the four projections of a layer's
  // attention, its gated MLP, and the head, which is the embedding's table where the file has none.
  void attention(nn::Attention& a, int64_t layer, const ModelConfig& c) const;
  // The same with "attn_qkv.weight": rows of queries, keys and values one after the other.
  void fused_attention(nn::Attention& a, int64_t layer, const ModelConfig& c) const;
  nn::Mlp plain_mlp(int64_t layer, const ModelConfig& c, nn::Activation activation) const;
  nn::Mlp gated_mlp(int64_t layer, const ModelConfig& c, nn::Activation activation) const;
  nn::Linear head(const nn::Embedding& embedding, const ModelConfig& c) const;
  // The rotation and its scaling, and the context that comes of it.
  void rotary(nn::Attention& a, ModelConfig& c) const;
  // Of each layer's attention; 0: all earlier tokens.
  std::vector<int64_t> windows(ModelConfig& c) const;
  // A layer's experts of `ffn`, nothing where the model has none.
  std::optional<nn::Moe> moe(int64_t layer, const ModelConfig& c, int64_t ffn) const;
  // What linear() has given out, by name.
  const std::vector<std::pair<std::string, nn::Linear>>& weights() const { return weights_; }
  // Formats that weights had before they were converted.
  std::vector<std::string> requantized() const { return {requantized_.begin(), requantized_.end()}; }
  // The fields that all architectures share.
  ModelConfig config() const;

 private:
  // The weight as affine groups, packed by the host engine.
  QTensor quantized(const GgufTensor& tensor, const QTensor& w) const;
  // What options ask to compute with in place of the file's; undefined: nothing.
  Array given(const std::string& tensor, const Shape& shape) const;
  void scaled_rotary(nn::Attention& a, ModelConfig& c, std::string_view kind) const;
  [[noreturn]] void refuse(std::string_view key, const std::string& value, const std::string& want) const;
  const GgufTensor& take(const std::string& tensor) const;
  nn::Linear view(const GgufTensor& t, int64_t in, int64_t first, int64_t rows) const;

  std::shared_ptr<GgufFile> file_;
  mutable std::set<std::string, std::less<>> taken_, read_;  // tensors, keys
  mutable std::vector<std::pair<std::string, nn::Linear>> weights_;
  mutable std::set<std::string> requantized_;
  std::string prefix_;
  LoadOptions options_;
};

// One row an architecture, in the file of its name.
struct ModelDef {
  const char* architecture;  // general.architecture
  std::shared_ptr<Model> (*load)(const Loader& loader);
};
extern const ModelDef kLlama, kGemma2, kGemma3, kQwen2, kQwen3, kQwen3Moe, kPhi3, kGpt2, kGptNeoX, kBert;

// A Hugging Face or MLX directory in GGUF's terms: config.json becomes metadata under GGUF's keys, tensors
// get GGUF's names and stay mapped, tokenizer.json becomes GGUF's vocabulary. Throws FileNotFound, BadFormat,
// BadModel, BadTokenizer, UnknownArchitecture.
std::shared_ptr<GgufFile> open_directory(const std::string& path);

// How many letters have to change to make one of the other.
size_t edit_distance(std::string_view a, std::string_view b);
// "blk.3." + rest
std::string block(int64_t layer, std::string_view rest);

}  // namespace mc::models
