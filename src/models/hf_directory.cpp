// A directory of config.json, tokenizer.json and safetensors files as a model in GGUF's terms.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <nlohmann/json.hpp>
#include <optional>

#include "hf_settings.h"
#include "hf_tokenizer.h"
#include "loader.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/file.h"
#include "mc/ops.h"
#include "mc/safetensors.h"

namespace mc::models {
namespace {

using Json = nlohmann::json;

// Memory for what can't be used as it stands in the file. A mapping, so that engines may drop its pages as
// they do a file's: the system keeps their contents.
class Scratch {
 public:
  explicit Scratch(size_t bytes) : bytes_(std::max<size_t>(bytes, 1)) {
    const int fd = memfd_create("mc-weights", MFD_CLOEXEC);
    void* p = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, static_cast<off_t>(bytes_)) == 0)
      p = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0) close(fd);
    if (p == MAP_FAILED)
      throw Error(ErrorCode::OutOfMemory, cat("no memory for ", bytes, " bytes of weights"));
    data_ = static_cast<std::byte*>(p);
  }
  ~Scratch() { munmap(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::byte* data() { return data_; }
  std::span<const std::byte> bytes() const { return {data_, bytes_}; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_;
};

// A small file as it lies on the disk; nothing where there is none, or an empty one.
class Mapped {
 public:
  explicit Mapped(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat st {};
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
      size_ = static_cast<size_t>(st.st_size);
      data_ = mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd, 0);
    }
    if (fd >= 0) close(fd);
  }
  ~Mapped() {
    if (data_ != MAP_FAILED) munmap(data_, size_);
  }
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;
  std::span<const std::byte> bytes() const {
    return data_ == MAP_FAILED ? std::span<const std::byte>()
                               : std::span(static_cast<const std::byte*>(data_), size_);
  }

 private:
  void* data_ = MAP_FAILED;
  size_t size_ = 0;
};

// All that the tensors point to, and what else the model's hash is of.
struct Holder {
  SafetensorsSet set;
  std::deque<Mapped> text;  // the configuration, the tokenizer's files
  std::deque<std::string> names;
  std::deque<AffineTensor> affine;
  std::deque<Scratch> scratch;
};

std::optional<GgmlType> ggml_type(const SafetensorsTensor& t) {
  if (t.dtype == Dtype::F32) return GgmlType::F32;
  if (t.dtype == Dtype::F16) return GgmlType::F16;
  if (t.dtype == Dtype::BF16) return GgmlType::BF16;
  return {};
}

class Directory {
 public:
  explicit Directory(std::string path) : path_(std::move(path)), settings_(path_, writer_) {}

  std::shared_ptr<GgufFile> open() {
    hold_->set = SafetensorsSet::open(path_);
    tensors();
    for (const auto& [name, values] : settings_.rope_factors()) synthetic(name, values);
    std::vector<std::span<const std::byte>> parts = {hold_->text.emplace_back(settings_.path()).bytes()};
    for (const auto& f : hold_->set.files()) parts.push_back(f->bytes());
    set_tokenizer(writer_, path_ + "/tokenizer.json", config());
    for (const char* name :
         {"tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"})
      parts.push_back(hold_->text.emplace_back(cat(path_, "/", name)).bytes());
    return GgufFile::assemble(path_, writer_.to_bytes(), std::move(out_), std::move(parts), hold_);
  }

 private:
  [[noreturn]] void bad(const std::string& what, const std::string& next = {}) const {
    settings_.bad(what, next);
  }
  static const Json* find(const Json& where, const char* k) { return Settings::find(where, k); }
  uint64_t whole(const Json& v, const std::string& k) const { return settings_.whole(v, k); }
  const Json& config() const { return settings_.config(); }
  const HfArchitecture& architecture() const { return settings_.architecture(); }

  void synthetic(const char* name, const std::vector<float>& values) {
    hold_->scratch.emplace_back(values.size() * 4);
    std::memcpy(hold_->scratch.back().data(), values.data(), values.size() * 4);
    add(name, GgmlType::F32, {static_cast<int64_t>(values.size())},
        hold_->scratch.back().bytes().first(values.size() * 4));
  }

  GgufTensor& add(const std::string& name, GgmlType type, const Shape& shape,
                  std::span<const std::byte> data) {
    hold_->names.push_back(name);
    GgufTensor t;
    t.name = hold_->names.back();
    t.type = type;
    t.shape = shape;
    for (int i = shape.ndim() - 1; i >= 0; --i) t.ggml_dims.push_back(shape[i]);
    t.data = data;
    out_.push_back(t);
    return out_.back();
  }

  struct Place {
    std::string name;
    HfLayout layout = HfLayout::Plain;
    bool skip = false;
  };
  static std::optional<std::string> matched(std::string_view pattern, std::string_view name,
                                            const char* gguf) {
    const size_t hole = pattern.find("{}");
    if (hole == std::string_view::npos)
      return pattern == name ? std::optional<std::string>(gguf) : std::nullopt;
    const std::string_view head = pattern.substr(0, hole), tail = pattern.substr(hole + 2);
    if (!name.starts_with(head) || !name.ends_with(tail) || name.size() <= head.size() + tail.size())
      return {};
    const std::string_view number = name.substr(head.size(), name.size() - head.size() - tail.size());
    if (number.size() > 6 || number.find_first_not_of("0123456789") != std::string_view::npos) return {};
    const std::string_view g(gguf);
    const size_t at = g.find("{}");
    return cat(g.substr(0, at), number, g.substr(at + 2));
  }
  // GGUF's name of a tensor without its ".weight"; its own where the table has none.
  Place place(std::string_view stem) const {
    // Where another class was saved: "transformer.h.0", "bert.encoder.layer.0", or without "model.".
    for (std::string_view prefix : {"", "transformer.", "bert.", "language_model.", "+model."}) {
      std::string name(stem);
      if (prefix.starts_with("+"))
        name = cat(prefix.substr(1), stem);
      else if (!prefix.empty() && stem.starts_with(prefix))
        name = std::string(stem.substr(prefix.size()));
      else if (!prefix.empty())
        continue;
      for (const HfName& n : architecture().globals)
        if (auto g = matched(n.hf, name, n.gguf)) return {*g, n.layout, false};
      const std::string_view layers = architecture().layers;
      if (!std::string_view(name).starts_with(layers)) continue;
      const std::string_view rest = std::string_view(name).substr(layers.size());
      const size_t dot = rest.find('.');
      if (dot == std::string_view::npos || dot == 0 || dot > 5 ||
          rest.substr(0, dot).find_first_not_of("0123456789") != std::string_view::npos)
        continue;
      const std::string_view inner = rest.substr(dot + 1);
      // Tables that are computed from the configuration.
      for (std::string_view s : {"self_attn.rotary_emb.inv_freq", "attention.rotary_emb.inv_freq",
                                 "attn.masked_bias", "attention.masked_bias"})
        if (inner == s) return {{}, HfLayout::Plain, true};
      for (const HfName& n : architecture().block)
        if (auto g = matched(n.hf, inner, n.gguf))
          return {cat("blk.", rest.substr(0, dot), ".", *g), n.layout, false};
    }
    return {std::string(stem), HfLayout::Plain,
            stem == "embeddings.position_ids" || stem == "bert.embeddings.position_ids"};
  }

  void tensors() {
    const bool grouped = find(config(), "quantization") != nullptr;
    const bool tied =
        config().contains("tie_word_embeddings") && config().at("tie_word_embeddings") == Json(true);
    for (const SafetensorsSet::Entry& e : hold_->set.entries()) {
      const std::string& full = e.tensor->name;
      const size_t dot = full.rfind('.');
      const std::string stem = dot == std::string::npos ? full : full.substr(0, dot);
      std::string leaf = dot == std::string::npos ? "" : full.substr(dot + 1);
      // What BERT's first files call weight and bias of their norms.
      if (stem.ends_with("LayerNorm")) leaf = leaf == "gamma" ? "weight" : leaf == "beta" ? "bias" : leaf;
      if (grouped && (leaf == "scales" || leaf == "biases") && hold_->set.find(stem + ".weight")) continue;
      const bool known = leaf == "weight" || leaf == "bias";
      Place p = place(known ? stem : full);
      if (p.skip) continue;
      // Masks of GPT-2 and GPT-NeoX that are saved beside the weights.
      if (leaf == "bias" && (stem.ends_with(".attn") || stem.ends_with(".attention"))) continue;
      // Heads of BERT that are not computed: what is asked for are its states.
      if (std::string_view(architecture().architecture) == "bert" &&
          (stem.starts_with("pooler.") || stem.starts_with("bert.pooler.") || stem.starts_with("cls.")))
        continue;
      if (tied && p.name == "output") continue;
      if (known) p.name += "." + leaf;
      // GGUF's BERT has its vectors under the same names.
      const SafetensorsSet::Entry* scales =
          grouped && leaf == "weight" ? hold_->set.find(stem + ".scales") : nullptr;
      if (scales) {
        affine(e, *scales, stem, p.name);
        continue;
      }
      const std::optional<GgmlType> type = ggml_type(*e.tensor);
      if (!type)
        throw Error(ErrorCode::BadModel,
                    cat("tensor ", full, " is stored as ", e.tensor->type, "; F32, F16 and BF16 are read"),
                    e.file->path());
      if (e.tensor->shape.ndim() == 0 || e.tensor->shape.ndim() > 3)
        throw Error(ErrorCode::BadModel, cat("tensor ", full, " has shape ", e.tensor->shape.str()),
                    e.file->path());
      std::span<const std::byte> data = e.tensor->data;
      Shape shape = e.tensor->shape;
      const size_t item = itemsize(*e.tensor->dtype);
      if (p.layout == HfLayout::Transposed && shape.ndim() == 2) {
        data = transposed(*e.tensor, item);
        std::swap(shape[0], shape[1]);
      } else if (p.layout == HfLayout::HeadsOfThree) {
        data = heads_apart(*e.tensor);
      } else if (architecture().norms_less_one && shape.ndim() == 1) {
        const Array one = (astype(e.file->array(*e.tensor), Dtype::F32) + 1.0f).eval();
        hold_->scratch.emplace_back(one.nbytes());
        one.to_bytes(hold_->scratch.back().data());
        add(p.name, GgmlType::F32, shape, hold_->scratch.back().bytes().first(one.nbytes()));
        continue;
      } else if (reinterpret_cast<uintptr_t>(data.data()) % item) {
        hold_->scratch.emplace_back(data.size());
        std::memcpy(hold_->scratch.back().data(), data.data(), data.size());
        data = hold_->scratch.back().bytes().first(data.size());
      }
      add(p.name, *type, shape, data);
    }
    // Without the key, the tensors tell.
    const bool decoder = std::string_view(architecture().architecture) != "bert";
    if (decoder && config().value("tie_word_embeddings", Json()) == Json(false) &&
        std::none_of(out_.begin(), out_.end(), [](const GgufTensor& t) { return t.name == "output.weight"; }))
      bad("the key tie_word_embeddings is false, but no tensor is the output head (lm_head.weight)",
          "the directory lacks weights, or the key should be true");
  }

  std::span<const std::byte> transposed(const SafetensorsTensor& t, size_t item) {
    hold_->scratch.emplace_back(t.data.size());
    std::byte* to = hold_->scratch.back().data();
    const auto rows = static_cast<size_t>(t.shape[0]), columns = static_cast<size_t>(t.shape[1]);
    constexpr size_t kTile = 32;
    for (size_t r0 = 0; r0 < rows; r0 += kTile)
      for (size_t c0 = 0; c0 < columns; c0 += kTile)
        for (size_t r = r0; r < std::min(rows, r0 + kTile); ++r)
          for (size_t c = c0; c < std::min(columns, c0 + kTile); ++c)
            std::memcpy(to + (c * rows + r) * item, t.data.data() + (r * columns + c) * item, item);
    return hold_->scratch.back().bytes().first(t.data.size());
  }

  std::span<const std::byte> heads_apart(const SafetensorsTensor& t) {
    const uint64_t heads = whole(config().value("num_attention_heads", Json()), "num_attention_heads");
    const auto rows = static_cast<uint64_t>(t.shape[0]);
    if (heads == 0 || rows % (3 * heads))
      bad(cat("num_attention_heads is ", heads, ", but tensor ", t.name, " has shape ", t.shape.str()));
    const size_t piece = rows / (3 * heads) * (rows ? t.data.size() / rows : 0);
    hold_->scratch.emplace_back(t.data.size());
    std::byte* to = hold_->scratch.back().data();
    for (size_t h = 0; h < heads; ++h)
      for (size_t part = 0; part < 3; ++part)
        std::memcpy(to + (part * heads + h) * piece, t.data.data() + (h * 3 + part) * piece, piece);
    return hold_->scratch.back().bytes().first(t.data.size());
  }

  void affine(const SafetensorsSet::Entry& codes, const SafetensorsSet::Entry& scales,
              const std::string& stem, const std::string& name) {
    auto wrong = [&](const std::string& what) {
      throw Error(ErrorCode::BadModel, cat("tensor ", codes.tensor->name, " ", what), codes.file->path());
    };
    const Json& q = config().at("quantization");
    if (!q.is_object()) bad("the key quantization is no object");
    const Json* own = find(q, stem.c_str());
    const Json& from = own && own->is_object() ? *own : q;
    auto setting = [&](const char* k) {
      const Json* v = find(from, k) ? find(from, k) : find(q, k);
      if (!v) bad(cat("the key quantization.", k, " is missing"));
      return whole(*v, cat("quantization.", k));
    };
    if (const Json* mode = find(from, "mode"); mode && *mode != Json("affine"))
      bad(cat("the key quantization.mode is ", mode->dump().substr(0, 40), "; only \"affine\" is read"));
    const uint64_t bits = setting("bits"), group = setting("group_size");
    if (!(bits == 2 || bits == 3 || bits == 4 || bits == 5 || bits == 6 || bits == 8) ||
        !(group == 32 || group == 64 || group == 128))
      bad(cat("quantization of ", bits, " bits in groups of ", group, " is not read"));
    const SafetensorsSet::Entry* biases = hold_->set.find(stem + ".biases");
    if (!biases) wrong("has scales but no biases");
    const SafetensorsTensor &w = *codes.tensor, &s = *scales.tensor, &b = *biases->tensor;
    if (w.dtype != Dtype::U32 || w.shape.ndim() != 2 || s.shape.ndim() != 2 || !(s.shape == b.shape) ||
        s.shape[0] != w.shape[0] || s.type != b.type || !ggml_type(s))
      wrong(cat("has codes ", w.type, " ", w.shape.str(), ", scales ", s.type, " ", s.shape.str(),
                " and biases ", b.type, " ", b.shape.str(), ", which do not fit together"));
    const int64_t columns = s.shape[1] * static_cast<int64_t>(group);
    if (w.shape[1] * 32 != columns * static_cast<int64_t>(bits))
      wrong(cat("has ", w.shape[1], " words a row; ", columns, " columns of ", bits, " bits take ",
                columns * static_cast<int64_t>(bits) / 32));
    for (const SafetensorsTensor* t : {&w, &s, &b})
      if (reinterpret_cast<uintptr_t>(t->data.data()) % itemsize(*t->dtype))
        wrong("is not aligned in the file");
    hold_->affine.push_back({static_cast<int>(bits), static_cast<int>(group), *ggml_type(s), s.data, b.data});
    add(name, GgmlType::I32, {w.shape[0], columns}, w.data).affine = &hold_->affine.back();
  }

  std::string path_;
  std::shared_ptr<Holder> hold_ = std::make_shared<Holder>();
  GgufWriter writer_;
  Settings settings_;
  std::vector<GgufTensor> out_;
};

}  // namespace

nlohmann::json parse_json(const std::string& text, const std::string& path) {
  try {
    return Json::parse(text, [&](int depth, Json::parse_event_t, Json&) {
      if (depth > 64) throw Error(ErrorCode::BadFormat, "the JSON nests deeper than 64", path);
      return true;
    });
  } catch (const nlohmann::json::exception&) {
    throw Error(ErrorCode::BadFormat, "the file is not JSON", path);
  }
}

std::shared_ptr<GgufFile> open_directory(const std::string& path) { return Directory(path).open(); }

}  // namespace mc::models
