// A Hugging Face directory: config.json, and behind a zero byte its model.safetensors (without one: the
// config alone, with an index that names no file). A model that loads is run on two tokens.
#include "fuzz.h"
#include "mc/model.h"
#include "mc/ops.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mc;
  static const fuzz::Folder folder;
  static const std::string tokenizer =
      folder.put("tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}})");
  const std::string_view all = fuzz::text(data, size);
  const size_t cut = std::min(all.find('\0'), all.size());
  folder.put("config.json", all.substr(0, cut));
  folder.put("model.safetensors", cut < all.size() ? all.substr(cut + 1) : std::string_view());
  fuzz::refuses({ErrorCode::BadFormat, ErrorCode::Truncated, ErrorCode::BadModel, ErrorCode::BadTokenizer,
                 ErrorCode::UnknownArchitecture},
                [&] {
                  const auto model = load_model(folder.path());
                  const ModelConfig& c = model->config();
                  if (c.layers > 8 || c.hidden > 256 || c.vocab > 1024 || c.ffn > 1024 || c.heads > 64)
                    return;
                  ForwardInput in;
                  in.ids = Array(std::vector<int32_t>{0, 1}, {1, 2});
                  in.start = Array(std::vector<int32_t>{0}, {1});
                  if (!c.encoder) in.cache = model->make_cache(1, 2);
                  model->forward(in).hidden.eval();
                });
  return 0;
}
