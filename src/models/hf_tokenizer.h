// tokenizer.json in GGUF's terms.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "mc/gguf.h"

namespace mc::models {

// Sets the tokenizer.* keys from tokenizer.json, tokenizer_config.json and chat_template.jinja. Throws
// BadTokenizer naming what a tokenizer.json holds that is not read.
void set_tokenizer(GgufWriter& writer, const std::string& directory, const nlohmann::json& config);
// Throws BadFormat for what is no JSON or nests too deeply.
nlohmann::json parse_json(const std::string& text, const std::string& path);

}  // namespace mc::models
