// tokenizer.json in GGUF's terms.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "mc/gguf.h"

namespace mc::models {

// Sets the tokenizer.* keys from a tokenizer.json, and from tokenizer_config.json, generation_config.json and
// chat_template.jinja beside it. Throws BadTokenizer naming what a tokenizer.json holds that is not read.
void set_tokenizer(GgufWriter& writer, const std::string& tokenizer_json, const nlohmann::json& config);
// A file that holds a tokenizer and nothing else.
std::shared_ptr<GgufFile> tokenizer_file(const std::string& tokenizer_json);
// Throws BadFormat for what is no JSON or nests too deeply.
nlohmann::json parse_json(const std::string& text, const std::string& path);

}  // namespace mc::models
