#include <algorithm>
#include <limits>
#include <map>

#include "commands.h"
#include "format.h"
#include "mc/detail/str.h"
#include "mc/gguf.h"
#include "mc/model.h"

namespace mc::tool {
namespace {

struct TypeTotal {
  int64_t tensors = 0, parameters = 0, bytes = 0;
};

// A key of the model's architecture ("llama.block_count") as an integer, where it is there.
std::optional<int64_t> of_architecture(const GgufFile& file, std::string_view architecture,
                                       std::string_view key) {
  const GgufValue* v = file.find(cat(architecture, ".", key));
  return v ? v->as_i64() : std::nullopt;
}

// Files may claim tensors of types whose sizes nothing checks: a sum past int64 stays at its end.
int64_t add(int64_t a, int64_t b) {
  int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<int64_t>::max() : sum;
}

std::string type_name(const GgufTensor& t) {
  return t.affine ? cat("affine ", t.affine->bits, "-bit/", t.affine->group) : ggml_type_name(t.type);
}

Value shape_value(const Shape& shape) { return Value::list_of(shape); }

int run(const Args& args) {
  const std::shared_ptr<GgufFile> file = open_model_file(args.model());
  const std::string architecture(file->string("general.architecture", ""));
  std::map<std::string, TypeTotal> types;
  int64_t parameters = 0;
  for (const GgufTensor& t : file->tensors()) {
    TypeTotal& total = types[type_name(t)];
    ++total.tensors;
    const int64_t n = t.shape.numel();
    total.parameters = add(total.parameters, n);
    total.bytes += static_cast<int64_t>(t.data.size());
    if (t.affine) total.bytes += static_cast<int64_t>(t.affine->scales.size() + t.affine->biases.size());
    parameters = add(parameters, n);
  }
  const GgufValue* tokens = file->find("tokenizer.ggml.tokens");
  struct Row {
    const char *name, *text;
    std::optional<int64_t> value;
  };
  const Row rows[] = {
      {"layers", "layers", of_architecture(*file, architecture, "block_count")},
      {"hidden", "hidden size", of_architecture(*file, architecture, "embedding_length")},
      {"heads", "attention heads", of_architecture(*file, architecture, "attention.head_count")},
      {"kv_heads", "key/value heads", of_architecture(*file, architecture, "attention.head_count_kv")},
      {"feed_forward", "feed-forward size", of_architecture(*file, architecture, "feed_forward_length")},
      {"context", "context", of_architecture(*file, architecture, "context_length")},
      {"window", "sliding window", of_architecture(*file, architecture, "attention.sliding_window")},
      {"vocab", "vocabulary", tokens ? std::optional<int64_t>(tokens->size()) : std::nullopt}};

  if (args.format == Format::Text) {
    const auto line = [](std::string_view name, const std::string& value) {
      std::string left(name);
      left.resize(20, ' ');
      write_out(cat(left, show_text(value), "\n"));
    };
    line("file", cat(file->path(), "  (", show_bytes(static_cast<double>(file->file_bytes())),
                     file->assembled() ? ", safetensors" : cat(", GGUF v", file->version()), ")"));
    line("name", std::string(file->string("general.name", "-")));
    line("architecture",
         cat(architecture.empty() ? "-" : architecture,
             file->assembled() ? "  (key model_type of config.json)" : "  (key general.architecture)"));
    line("tokenizer", std::string(file->string("tokenizer.ggml.model", "-")));
    for (const Row& r : rows)
      if (r.value) line(r.text, show_count(*r.value));
    line("parameters", show_count(parameters));
    for (const auto& [name, t] : types)
      line(cat("  ", name), cat(show_count(t.tensors), " tensors, ", show_count(t.parameters),
                                " parameters, ", show_bytes(static_cast<double>(t.bytes))));
    if (args.has("metadata"))
      for (const auto& [key, value] : file->metadata())
        write_out(cat(show_text(key), " = ", show_text(value.str()), "\n"));
    if (args.has("tensors"))
      for (const GgufTensor& t : file->tensors())
        write_out(cat(show_text(t.name), "  ", type_name(t), "  ", t.shape.str(), "\n"));
    return kOk;
  }

  Value v = Value::object();
  v.set("schema", "mc.model_info/1").set("path", file->path()).set("file_bytes", file->file_bytes());
  if (!file->assembled()) v.set("gguf_version", file->version());
  v.set("architecture", architecture).set("name", file->string("general.name", ""));
  v.set("tokenizer", file->string("tokenizer.ggml.model", ""));
  for (const Row& r : rows)
    if (r.value) v.set(r.name, *r.value);
  v.set("parameters", parameters);
  Value list = Value::list();
  for (const auto& [name, t] : types)
    list.push(Value::object()
                  .set("type", name)
                  .set("tensors", t.tensors)
                  .set("parameters", t.parameters)
                  .set("bytes", t.bytes));
  v.set("types", std::move(list));
  if (args.has("metadata")) {
    Value metadata = Value::object();
    for (const auto& [key, value] : file->metadata())
      metadata.set(key, value.type() == GgufType::String ? Value(*value.as_string()) : Value(value.str()));
    v.set("metadata", std::move(metadata));
  }
  if (args.has("tensors")) {
    Value tensors = Value::list();
    for (const GgufTensor& t : file->tensors())
      tensors.push(
          Value::object().set("name", t.name).set("type", type_name(t)).set("shape", shape_value(t.shape)));
    v.set("tensors", std::move(tensors));
  }
  write_result(args.format, v);
  return kOk;
}

}  // namespace

Command model_info_command() {
  return {.name = "model info",
          .summary = "what a model file holds: architecture, sizes, tensor types",
          .groups = kModel,
          .options = {{"tensors", Kind::Flag, "", "list every tensor"},
                      {"metadata", Kind::Flag, "", "list every key of the metadata"}},
          .examples = "  mc model info model.gguf\n  mc model info model.gguf --tensors --output json\n",
          .run = run,
          .words = "MODEL"};
}
}  // namespace mc::tool
