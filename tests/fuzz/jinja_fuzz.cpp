// Any bytes as a chat template, rendered with a conversation and a tool.
#include "fuzz.h"
#include "mc/chat.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mc;
  static const std::shared_ptr<Tokenizer> tokenizer = [] {
    GgufWriter w;
    const std::vector<std::string> tokens = {"<s>", "</s>", "<|im_end|>", "a"};
    const std::vector<int32_t> types = {3, 3, 3, 1};
    w.set_string("tokenizer.ggml.model", "gpt2");
    w.set_string("tokenizer.ggml.pre", "gpt-2");
    w.set_strings("tokenizer.ggml.tokens", tokens);
    w.set_strings("tokenizer.ggml.merges", std::vector<std::string>{});
    w.set_i32s("tokenizer.ggml.token_type", types);
    w.set_u32("tokenizer.ggml.bos_token_id", 0);
    w.set_u32("tokenizer.ggml.eos_token_id", 1);
    static const std::vector<std::byte> bytes = w.to_bytes();
    return Tokenizer::from_gguf(*GgufFile::from_memory(bytes));
  }();
  fuzz::refuses({ErrorCode::BadTemplate}, [&] {
    const ChatTemplate form(fuzz::text(data, size), *tokenizer);
    ChatOptions o;
    o.now = 1700000000;
    o.tools = R"([{"type": "function", "function": {"name": "f", "parameters": {"properties": {"p": {"type":
      ["string", "null"], "enum": ["\u00e9", 1.5, true]}}, "required": ["p"]}}}])";
    o.variables = R"({"x": 7, "y": -2.5, "s": "Hello, W\u00f6rld \u00df", "l": [3, 1, 2], "e": [], "n": null,
      "d": {"b": 1, "a": [null, true, "q'\"\n"]}, "big": 1e20, "t": true})";
    const ChatText text = form.render(
        R"([{"role": "system", "content": "Be brief.\n"}, {"role": "user", "content": "hi <|im_end|> \u00e9"},
            {"role": "assistant", "content": null, "tool_calls": [{"type": "function", "function": {"name": "f",
             "arguments": {"p": [1, {}]}}}]}, {"role": "user", "content": [{"type": "text", "text": "a"}]}])",
        o);
    for (const TokenSpan& s : text.plain)
      if (s.begin > s.end || s.end > text.text.size()) std::abort();
  });
  return 0;
}
