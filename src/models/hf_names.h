// The table of what Hugging Face's directories call what GGUF has other names for.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mc::models {

struct HfKey {
  const char *hf, *gguf;  // gguf without the architecture's prefix
  char kind;              // 'u' a whole number, 'f' a number, 'b' a bool
  bool required = true;
};
// How a matrix lies in the file: as it is computed with; (in, out); or rows of query, key and value in turn
// for each head, which GGUF has one after another.
enum class HfLayout : uint8_t { Plain, Transposed, HeadsOfThree };
struct HfName {
  const char *hf, *gguf;  // without ".weight" or ".bias"; {} stands for an expert's number
  HfLayout layout = HfLayout::Plain;
};
struct HfArchitecture {
  const char *model_type, *architecture;  // config.json's and GGUF's
  const char* layers;                     // what stands before a layer's number
  std::vector<HfKey> keys;
  std::vector<HfName> globals, block;
  bool norms_less_one = false;  // norm weights lack the 1 that GGUF has added to them
};
std::span<const HfArchitecture> hf_architectures();
// Throws BadModel naming a key of config.json that is neither read nor known to change no answer.
void require_known_keys(const nlohmann::json& config, const HfArchitecture& architecture,
                        const std::string& path);

}  // namespace mc::models
