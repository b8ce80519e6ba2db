// Language models: loading from a file, and one forward pass with a look inside.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "mc/gguf.h"
#include "mc/nn.h"
#include "mc/text.h"

namespace mc {

// What defines a model's shape, read from its metadata.
struct ModelConfig {
  std::string architecture;  // one of supported_architectures()
  std::string name;
  int64_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn = 0, vocab = 0;
  int64_t context = 0;  // tokens that the model was made for
  double norm_eps = 1e-5;
  double rope_base = 10000, rope_local_base = 0;  // local: of sliding-window layers; 0 if there are none
  int64_t window = 0;                             // of sliding-window layers; 0 if there are none
  bool encoder = false;  // tokens see those behind them, too: no cache, no next token
};

// Weights converted at load to affine groups (quantize.h), the embedding and the head too. The host engine
// does it, so the bytes are the same whatever engine computes on them.
struct LoadQuantize {
  int bits = 0;  // 4 or 8; 0: weights stay as the file has them
  int group = 64;
  Dtype scales = Dtype::F32;  // of scales and biases; weights are rounded to it first, as MLX does
};
// "affine4", "affine8:32": bits, and a group of 32, 64 (the default) or 128. Throws InvalidArgument listing
// the forms.
MC_API LoadQuantize parse_quantize(const std::string& text);

struct LoadOptions {
  bool fast = false;  // int8 activations in quantized products (docs/contract.md)
  // Of activations and KV cache: F32, BF16 or F16. Sums are formed in float32 and every result is rounded
  // once; logits are float32 always. Where activations pass float16's range the result is an error
  // (NotFinite), never a wrong number.
  // F64 is the oracle of mc::parity: weights as the engines decode them, all else in float64 (the host
  // engine).
  Dtype dtype = Dtype::F32;
  LoadQuantize quantize = {};
  double noise = 0;  // F64 only: see nn::Linear
  // Tokens that texts may have. Rope scalings that depend on it (longrope, dynamic) are chosen by it,
  // whatever a text's own length, so that chunks and batches change nothing; 0: those of the original
  // context.
  int64_t context = 0;
  // Computed with in place of the file's, by the names that Model::file() has: matrices (out, in), vectors.
  // With those of a traced function, gradients by weights. Throws InvalidArgument for a name that is not
  // there.
  std::map<std::string, Array> weights = {};
};

struct ForwardInput {
  Array ids;                       // int32 (B, T)
  Array start;                     // int32 (B,): tokens of each row in the cache already
  std::vector<nn::KvCache> cache;  // one a layer
  Sites* sites = nullptr;          // what is read and written on the way; null: nothing
  Array lengths;  // int32 (B,): tokens of each row, which encoders need; undefined: all of them
};
struct ForwardOutput {
  Array hidden;  // (B, T, d) after the final norm
  std::vector<nn::KvCache> cache;
};

class MC_API Model {
 public:
  virtual ~Model() = default;
  const ModelConfig& config() const { return config_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const GgufFile& file() const { return *file_; }
  // Of activations and KV cache.
  Dtype dtype() const { return dtype_; }
  // Builds the graph of one pass. T new tokens a row; the cache must have room for them.
  virtual ForwardOutput forward(const ForwardInput& in) const = 0;
  // (…, d) -> (…, vocab) float32 (float64 for the oracle).
  virtual Array logits(const Array& hidden) const = 0;
  // The same of the residual stream, which the last norm has not seen yet.
  virtual Array unembed(const Array& residual) const = 0;
  // Zero-filled, of the model's dtype, for `rows` sequences of up to `tokens`: the capacity is the next of
  // 256, 512, 1024 …
  std::vector<nn::KvCache> make_cache(int64_t rows, int64_t tokens) const;
  static int64_t cache_capacity(int64_t tokens);
  // A layer index with negative ones counted from the end; throws UnknownLayer with the valid range.
  int layer_index(int64_t layer) const;
  // Of the matrices of the model's blocks, embedding and head, by name in the file: as they are computed on.
  const std::vector<std::pair<std::string, nn::Linear>>& weights() const { return weights_; }
  // Formats that weights had already when LoadOptions::quantize converted them: "Q4_1", "Q8_0". The errors of
  // both add up.
  const std::vector<std::string>& requantized() const { return requantized_; }
  // Throws NotFinite: activations passed float16's largest number, 65504. bfloat16 and float32 reach further.
  [[noreturn]] void overflowed() const;

 protected:
  ModelConfig config_;
  std::shared_ptr<Tokenizer> tokenizer_;
  std::shared_ptr<GgufFile> file_;
  Dtype dtype_ = Dtype::F32;
  std::vector<std::pair<std::string, nn::Linear>> weights_;
  std::vector<std::string> requantized_;
  double noise_ = 0;  // LoadOptions::noise
  // What logits are formed in.
  Dtype wide() const { return dtype_ == Dtype::F64 ? Dtype::F64 : Dtype::F32; }
  friend MC_API std::shared_ptr<Model> load_model(const std::string& path, const LoadOptions& options);
};

// A GGUF file, or a directory of config.json, tokenizer.json and safetensors files (Hugging Face's or MLX's)
// shown in GGUF's terms: the same keys, names and shapes. Throws FileNotFound, BadFormat, Truncated,
// BadModel, BadTokenizer, UnknownArchitecture.
MC_API std::shared_ptr<GgufFile> open_model_file(const std::string& path);
// The tokenizer alone, without weights: of a GGUF file, a directory that holds a tokenizer.json, or a
// tokenizer.json itself (tokenizer_config.json, generation_config.json and config.json beside it are read
// where they are there). Throws FileNotFound, BadFormat, BadTokenizer.
MC_API std::shared_ptr<Tokenizer> load_tokenizer(const std::string& path);
// Opens such a file or directory. Weights stay mapped; engines pack them at first use. Throws FileNotFound,
// BadFormat, Truncated, UnknownArchitecture, BadModel, BadTokenizer, DtypeMismatch for another dtype of
// activations.
MC_API std::shared_ptr<Model> load_model(const std::string& path, const LoadOptions& options = {});
// Names of the architectures that load_model knows.
MC_API std::vector<std::string> supported_architectures();

}  // namespace mc
