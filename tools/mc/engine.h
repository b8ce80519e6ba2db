// The options that say where and how to compute, put into force.
#pragma once

#include <string>
#include <vector>

#include "cli.h"
#include "mc/model.h"

namespace mc::tool {

// Sets threads, engine and seed, and starts the trace.
class Engine {
 public:
  explicit Engine(const Args& args);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  bool fast() const { return fast_; }
  std::string precision() const { return fast_ ? "fast" : "highest"; }
  LoadOptions options() const;
  // Loads the model for this precision and dtype.
  std::shared_ptr<Model> load(const std::string& path) const;
  // Adds backend, device, precision and dtype to a result.
  void describe(Value& result) const;
  // "numpy:0, highest, f32"
  std::string str() const;

 private:
  bool fast_ = false;
  std::string dtype_name_, quantize_;             // of --dtype, --quantize
  mutable std::vector<std::string> requantized_;  // formats of the model loaded last
  int64_t context_ = 0;                           // of --context
};

// A line on stderr when --quantize converted weights of these quantized formats; nothing for none.
void warn_of_requantized(const std::vector<std::string>& formats);

// The text of --NAME, or of the file of --FILE_NAME ("-": standard input); exactly one of them must be given.
std::string text_or_file(const Args& args, const char* name, const char* file_name);

// The layers of --layers, else of `otherwise`. A list that can't be read is a wrong command line; a layer
// that the model does not have is not.
std::vector<int> layers_from(const Args& args, const char* otherwise, int64_t layers);

}  // namespace mc::tool
