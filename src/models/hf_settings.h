// config.json of a Hugging Face or MLX directory as GGUF's metadata.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "hf_names.h"
#include "mc/gguf.h"

namespace mc::models {

class Settings {
 public:
  using Json = nlohmann::json;
  // Reads config.json of `directory` and sets the keys. Throws FileNotFound, BadFormat, UnknownArchitecture,
  // BadModel naming the key.
  Settings(std::string directory, GgufWriter& writer);
  const Json& config() const { return config_; }
  const std::string& path() const { return config_path_; }
  const HfArchitecture& architecture() const { return *arch_; }
  // What a rope scaling divides the frequencies by: a tensor in GGUF.
  struct RopeFactors {
    const char* name;
    std::vector<float> values;
  };
  std::vector<RopeFactors> rope_factors() const;

  [[noreturn]] void bad(const std::string& what, const std::string& next = {}) const;
  // Null where it is not there, or null.
  static const Json* find(const Json& where, const char* k);
  double number(const Json& v, const std::string& k) const;
  uint64_t whole(const Json& v, const std::string& k) const;

 private:
  std::string key(std::string_view k) const;
  void find_architecture();
  void defaults();
  void metadata();
  void pooling();
  void require_as_computed();
  void windows();
  void period(const std::vector<int32_t>& slides);
  void rope();
  std::string path_, config_path_;
  GgufWriter& writer_;
  Json config_;
  const HfArchitecture* arch_ = nullptr;
  const Json* scaling_ = nullptr;
  std::string scaling_kind_;
  double base_ = 10000;
  uint64_t head_dim_ = 0;
};

}  // namespace mc::models
