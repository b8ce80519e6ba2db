// Any bytes as a GGUF file: everything in it read, its tokenizer used.
#include <span>

#include "fuzz.h"
#include "mc/gguf.h"
#include "mc/text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mc;
  volatile size_t seen = 0;
  fuzz::refuses({ErrorCode::BadFormat, ErrorCode::Truncated, ErrorCode::BadModel, ErrorCode::BadTokenizer},
                [&] {
                  auto file = GgufFile::from_memory({reinterpret_cast<const std::byte*>(data), size}, "fuzz");
                  for (const auto& [key, value] : file->metadata()) {
                    seen = seen + value.str().size() + value.integers().size() + value.floats().size();
                    for (std::string_view s : value.strings())
                      seen = seen + (s.empty() ? 0 : static_cast<size_t>(s.front() + s.back()));
                    for (const GgufValue& inner : value.arrays()) seen = seen + inner.str().size();
                    if (file->find(key) != &value) std::abort();
                  }
                  for (const GgufTensor& t : file->tensors()) {
                    if (!t.data.empty())
                      seen = seen + static_cast<size_t>(t.data.front()) + static_cast<size_t>(t.data.back());
                    if (file->find_tensor(t.name) != &t) std::abort();
                  }
                  auto tokenizer = Tokenizer::from_gguf(*file);
                  for (bool special : {false, true}) {
                    auto ids = tokenizer->encode("Hello  \xE2\x96\x81<s> \xF0\x9F\x99\x82\n<|im_end|>123",
                                                 {.parse_special = special});
                    StreamDecoder decoder(*tokenizer);
                    for (int32_t id : ids) seen = seen + decoder.push(id).size();
                    seen = seen + tokenizer->decode(ids, false).size();
                  }
                });
  return 0;
}
