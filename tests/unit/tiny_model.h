// A language model of a few numbers, in a GGUF file of its own, for tests of what surrounds the arithmetic.
#pragma once

#include <unistd.h>

#include <cmath>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/gguf.h"

namespace mc {

using Set = std::function<void(GgufWriter&)>;

// A model of small layers in a file of its own; `change` may set keys and add tensors.
class TinyFile {
 public:
  explicit TinyFile(const std::string& arch, const Set& change = {}, int layers = 1) {
    static int number = 0;
    path_ = (std::filesystem::temp_directory_path() / cat("mc_tiny_", ::getpid(), "_", ++number, ".gguf"))
                .string();
    GgufWriter w;
    auto key = [&](const char* k) { return arch + "." + k; };
    // What `change` has set stays: a key is set once.
    auto unless_set = [](auto set) {
      try {
        set();
      } catch (const Error&) {
      }
    };
    if (change) change(w);
    w.set_string("general.architecture", arch);
    unless_set([&] { w.set_u32(key("block_count"), static_cast<uint32_t>(layers)); });
    unless_set([&] { w.set_u32(key("embedding_length"), 32); });
    unless_set([&] { w.set_u32(key("attention.head_count"), 2); });
    unless_set([&] { w.set_u32(key("attention.head_count_kv"), 1); });
    unless_set([&] { w.set_u32(key("attention.key_length"), 16); });
    unless_set([&] { w.set_u32(key("feed_forward_length"), 64); });
    unless_set([&] { w.set_u32(key("context_length"), 64); });
    unless_set([&] { w.set_f32(key("attention.layer_norm_rms_epsilon"), 1e-5f); });
    w.set_string("tokenizer.ggml.model", "gpt2");
    w.set_string("tokenizer.ggml.pre", "gpt-2");
    w.set_strings("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b", "c", "d", "e", "f", "g", "h"});
    w.set_i32s("tokenizer.ggml.token_type", std::vector<int32_t>(8, 1));
    w.set_strings("tokenizer.ggml.merges", std::vector<std::string>{});
    tensor(w, "token_embd.weight", {32, 8});
    tensor(w, "output_norm.weight", {32});
    for (int l = 0; l < layers; ++l) {
      auto blk = [&](const char* n) { return cat("blk.", l, ".", n, ".weight"); };
      for (const char* n : {"attn_norm", "ffn_norm"}) tensor(w, blk(n), {32});
      tensor(w, blk("attn_q"), {32, 32});
      tensor(w, blk("attn_k"), {32, 16});
      tensor(w, blk("attn_v"), {32, 16});
      tensor(w, blk("attn_output"), {32, 32});
      tensor(w, blk("ffn_gate"), {32, 64});
      tensor(w, blk("ffn_up"), {32, 64});
      tensor(w, blk("ffn_down"), {64, 32});
      if (arch != "gemma3") continue;
      for (const char* n : {"post_attention_norm", "post_ffw_norm"}) tensor(w, blk(n), {32});
      for (const char* n : {"attn_q_norm", "attn_k_norm"}) tensor(w, blk(n), {16});
    }
    w.write(path_);
  }
  ~TinyFile() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

  static std::map<std::string, std::vector<float>>& data() {
    static std::map<std::string, std::vector<float>> d;
    return d;
  }
  static void tensor(GgufWriter& w, const std::string& name, const std::vector<int64_t>& dims) {
    size_t n = 1;
    for (int64_t d : dims) n *= static_cast<size_t>(d);
    std::vector<float>& v = data()[name];
    v.resize(n);
    for (size_t i = 0; i < n; ++i)
      v[i] = dims.size() == 1
                 ? 1.0f
                 : 0.3f * std::sin(static_cast<float>(i) * 1.7f + static_cast<float>(name.size()));
    w.add_tensor(name, GgmlType::F32, dims, {reinterpret_cast<const std::byte*>(v.data()), n * 4});
  }

 private:
  std::string path_;
};

}  // namespace mc
