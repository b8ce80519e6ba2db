// Any bytes as a tokenizer.json: texts encoded with their spans, and back. Spans must lie within the text, in
// order.
#include "fuzz.h"
#include "mc/model.h"
#include "mc/text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mc;
  static const fuzz::Folder folder;
  volatile size_t seen = 0;
  fuzz::refuses({ErrorCode::BadFormat, ErrorCode::BadTokenizer}, [&] {
    const auto tokenizer = load_tokenizer(folder.put("tokenizer.json", fuzz::text(data, size)));
    const std::string long_one = std::string(300, 'a') + std::string(300, ' ') + std::string(99, '\'');
    for (std::string_view text :
         {std::string_view("Hello  the fox's \xC3\x89 x 12 ab<s>[CLS] e\xCC\x81\xE2\x96\x81"
                           "a\n\xF0\x9F\x99\x82<|im_end|>\r\n \xEF\xAC\x81\xEA\xB0\x80\xCE\xA3"),
          std::string_view("\xFF\xC3 a\xE2\x82\x00z", 8), std::string_view(long_one)})
      for (bool special : {false, true}) {
        const EncodeOptions options{.parse_special = special};
        const Encoding e = tokenizer->encode_with_spans(text, options);
        if (e.ids != tokenizer->encode(text, options) || e.ids.size() != e.spans.size()) std::abort();
        for (const TokenSpan& s : e.spans)
          if (s.begin > s.end || s.end > text.size()) std::abort();
        StreamDecoder decoder(*tokenizer);
        for (int32_t id : e.ids) {
          seen = seen + decoder.push(id).size() + tokenizer->token_text(id).size();
          if (tokenizer->find_token(tokenizer->token_raw(id)) == std::nullopt) std::abort();
        }
        seen = seen + decoder.flush().size() + tokenizer->decode(e.ids, special).size();
      }
  });
  return 0;
}
