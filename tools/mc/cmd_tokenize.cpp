#include <charconv>

#include "commands.h"
#include "engine.h"
#include "format.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/model.h"

namespace mc::tool {
namespace {

std::vector<int32_t> ids_from(const Args& args) {
  std::vector<int32_t> ids;
  for (int64_t id : args.integers("decode")) {
    if (id < 0 || id > INT32_MAX)
      usage_error(cat(id, " is no id"), "--decode", "write ids apart by commas: 504,3575");
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

std::optional<bool> choice_of(const Args& args, const char* name) {
  const std::string choice = args.text(name, "model");
  if (choice == "model") return std::nullopt;
  return choice == "yes";
}

int run(const Args& args) {
  const std::shared_ptr<Tokenizer> t = load_tokenizer(args.model());
  Value v = Value::object();
  v.set("schema", "mc.tokenize/1").set("kind", t->kind());
  if (args.has("decode")) {
    if (args.has("text") || args.has("file"))
      usage_error("ids and a text are given both", "--decode", "give one of --decode, --text and --file");
    const std::vector<int32_t> ids = ids_from(args);
    const std::string text = t->decode(ids, !args.has("special"));
    if (args.format == Format::Text)
      write_out(text + "\n");
    else
      write_result(args.format, v.set("ids", Value::list_of(ids)).set("text", text));
    return kOk;
  }
  const std::string text = text_or_file(args, "text", "file");
  EncodeOptions o;
  o.parse_special = args.has("special");
  o.add_bos = choice_of(args, "bos");
  o.add_eos = choice_of(args, "eos");
  const bool offsets = args.has("offsets");
  Encoding e;
  if (offsets)
    e = t->encode_with_spans(text, o);
  else
    e.ids = t->encode(text, o);
  if (const auto cut = t->truncation(); cut && static_cast<int64_t>(e.ids.size()) > *cut)
    note(cat("[the tokenizer asks to cut texts to ", *cut, " tokens; this one has ", e.ids.size(),
             ": nothing was cut]"));
  if (args.format == Format::Text) {
    if (args.has("ids")) {
      std::string line;
      for (int32_t id : e.ids) line += cat(line.empty() ? "" : " ", id);
      write_out(line + "\n");
      return kOk;
    }
    for (size_t i = 0; i < e.ids.size(); ++i) {
      const std::string id = std::to_string(e.ids[i]);
      std::string line = std::string(id.size() < 7 ? 7 - id.size() : 0, ' ') + id;
      if (offsets) {
        const std::string span = cat(e.spans[i].begin, "-", e.spans[i].end);
        line += "  " + span + std::string(span.size() < 13 ? 13 - span.size() : 0, ' ');
      }
      write_out(cat(line, "  ", Value(t->token_text(e.ids[i])).json(), "\n"));
    }
    return kOk;
  }
  Value tokens = Value::list();
  for (size_t i = 0; i < e.ids.size(); ++i) {
    Value token = Value::object();
    token.set("id", e.ids[i]).set("text", t->token_text(e.ids[i])).set("special", t->is_special(e.ids[i]));
    if (offsets) token.set("begin", e.spans[i].begin).set("end", e.spans[i].end);
    tokens.push(std::move(token));
  }
  write_result(args.format, v.set("count", e.ids.size()).set("tokens", std::move(tokens)));
  return kOk;
}

}  // namespace

Command tokenize_command() {
  return {.name = "tokenize",
          .summary = "the tokens of a text, or the text of tokens; reads no weights",
          .groups = kModel,
          .options =
              {{"text", Kind::Text, "TEXT", "what to cut into tokens"},
               {"file", Kind::Text, "FILE",
                "the same from a file, all of it (of JSON lines, too); - is standard input"},
               {"decode", Kind::Integers, "IDS",
                "the other way: the text of these ids, 504,3575; --special shows control tokens"},
               {"special", Kind::Flag, "", "read \"<|im_end|>\" and its like as those tokens, not as text"},
               {"offsets", Kind::Flag, "", "the bytes of the text that each token stands for, begin-end"},
               {"ids", Kind::Flag, "", "as text: one line of ids"},
               {"bos", Kind::Choice, "model|yes|no", "a beginning token (default: as the model's files say)"},
               {"eos", Kind::Choice, "model|yes|no", "an end token (default: as the model's files say)"}},
          .notes =
              "The model is a GGUF file, a directory, or a tokenizer.json alone. As text a token a line: id, "
              "bytes with "
              "--offsets, the text it stands for as JSON writes it. Nothing is truncated.\n",
          .examples =
              "  mc tokenize --model m.gguf --text \"Hello there\" --offsets\n"
              "  mc tokenize --model tokenizer.json --file book.txt --ids\n"
              "  mc tokenize --model m.gguf --decode 504,3575\n",
          .run = run};
}
}  // namespace mc::tool
