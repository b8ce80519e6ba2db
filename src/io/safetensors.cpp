// The reader of safetensors files. Nothing is believed before it is checked against the bytes that are there.
#include "mc/safetensors.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "gguf_text.h"
#include "mapped_file.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/file.h"
#include "safetensors_types.h"

namespace mc {
namespace {

using Json = nlohmann::json;

// The format's own limit of the header's length.
constexpr uint64_t kMaxHeader = 100'000'000;
constexpr size_t kMaxName = 65535;
constexpr uint64_t kMaxElements = uint64_t{1} << 44;

// Reads the header as it is parsed: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}. No
// tree is built, so no depth of nesting and no repeated key goes unseen.
class HeaderReader final : public nlohmann::json_sax<Json> {
 public:
  struct Entry {
    std::string name, type;
    std::vector<uint64_t> shape, offsets;
    bool has_shape = false, has_offsets = false;
  };
  HeaderReader(const std::string& path, std::map<std::string, std::string>& metadata)
      : path_(path), metadata_(metadata) {}
  std::vector<Entry> entries;

  bool null() override { return scalar("null"); }
  bool boolean(bool) override { return scalar("a bool"); }
  bool number_integer(number_integer_t v) override { return scalar(cat(v)); }
  bool number_float(number_float_t, const string_t& s) override { return scalar(shown(s)); }
  bool number_unsigned(number_unsigned_t v) override {
    if (!list_) return scalar(cat(v));
    if (list_->size() >= kMaxRank)
      bad(cat(where(), " has more than ", kMaxRank, " entries in \"", field_, "\""));
    list_->push_back(v);
    return true;
  }
  bool string(string_t& s) override {
    if (depth_ == 2 && in_metadata_ && !list_) {
      if (!metadata_.emplace(field_, s).second)
        bad(cat("\"__metadata__\" has the key \"", shown(field_), "\" twice"));
      return true;
    }
    if (depth_ != 2 || list_ || field_ != "dtype") return scalar("a string");
    if (s.empty()) bad(cat(where(), " has an empty dtype"));
    if (!entries.back().type.empty()) twice();
    entries.back().type = s;
    return true;
  }
  bool binary(binary_t&) override { return scalar("bytes"); }
  bool start_object(std::size_t) override {
    if (depth_ >= 2 || list_) bad(cat(where(), " nests objects where none belong"));
    ++depth_;
    return true;
  }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool key(string_t& s) override {
    if (depth_ == 1) {
      in_metadata_ = s == "__metadata__";
      if (in_metadata_) {
        if (seen_metadata_) bad("the header has \"__metadata__\" twice");
        seen_metadata_ = true;
        return true;
      }
      if (s.empty() || s.size() > kMaxName)
        bad(cat("a tensor's name has ", s.size(), " bytes; it must have 1 to ", kMaxName));
      entries.push_back({s, {}, {}, {}, false, false});
    }
    field_ = s;
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ != 2 || list_ || in_metadata_) return scalar("a list");
    Entry& e = entries.back();
    if (field_ == "shape") {
      if (e.has_shape) twice();
      e.has_shape = true;
      list_ = &e.shape;
    } else if (field_ == "data_offsets") {
      if (e.has_offsets) twice();
      e.has_offsets = true;
      list_ = &e.offsets;
    } else {
      return scalar("a list");
    }
    return true;
  }
  bool end_array() override {
    list_ = nullptr;
    return true;
  }
  bool parse_error(std::size_t at, const std::string&, const nlohmann::detail::exception&) override {
    bad(cat("the header is not JSON: fault at its byte ", at));
  }

 private:
  [[noreturn]] void bad(const std::string& what) const { throw Error(ErrorCode::BadFormat, what, path_); }
  [[noreturn]] void twice() const { bad(cat(where(), " has \"", shown(field_), "\" twice")); }
  std::string where() const {
    if (in_metadata_) return "\"__metadata__\"";
    return entries.empty() ? "the header" : cat("tensor \"", shown(entries.back().name), "\"");
  }
  // A value that has no place here.
  bool scalar(const std::string& what) const {
    if (depth_ == 0) bad("the header is no object");
    bad(cat(where(), " has ", what, " where none belongs", field_.empty() ? "" : " (\"", shown(field_),
            field_.empty() ? "" : "\")"));
  }

  const std::string& path_;
  std::map<std::string, std::string>& metadata_;
  int depth_ = 0;
  bool in_metadata_ = false, seen_metadata_ = false;
  std::string field_;
  std::vector<uint64_t>* list_ = nullptr;
};

constexpr auto kByName = [](const SafetensorsTensor& t, std::string_view name) { return t.name < name; };

}  // namespace

void SafetensorsFile::parse() {
  auto bad = [&](const std::string& what) { throw Error(ErrorCode::BadFormat, what, path_); };
  if (bytes_.size() < 8)
    throw Error(
        ErrorCode::Truncated,
        cat("the file ends within its first 8 bytes: expected at least 10 bytes, actual ", bytes_.size()),
        path_);
  uint64_t length = 0;
  std::memcpy(&length, bytes_.data(), 8);
  const std::string_view head(reinterpret_cast<const char*>(bytes_.data()), 8);
  if (head.starts_with("version "))
    bad("not a safetensors file: it looks like a Git LFS pointer, not the file itself");
  if (head.starts_with("<!") || head.starts_with("<htm"))
    bad("not a safetensors file: it looks like a web page");
  if (head.starts_with("PK")) bad("not a safetensors file: it looks like a zip archive");
  if (length > kMaxHeader || length < 2)
    bad(cat("not a safetensors file: it gives its header ", length, " bytes; 2 to ", kMaxHeader,
            " are possible"));
  if (length > bytes_.size() - 8)
    throw Error(ErrorCode::Truncated,
                cat("the file ends within its header: expected at least ", length + 8, " bytes, actual ",
                    bytes_.size()),
                path_);
  const char* text = reinterpret_cast<const char*>(bytes_.data()) + 8;
  if (*text != '{') bad("not a safetensors file: its header does not begin with \"{\"");
  HeaderReader reader(path_, metadata_);
  Json::sax_parse(text, text + length, &reader);

  const std::span<const std::byte> data = bytes_.subspan(8 + length);
  tensors_.reserve(reader.entries.size());
  for (HeaderReader::Entry& e : reader.entries) {
    const std::string where = cat("tensor \"", shown(e.name), "\"");
    if (e.type.empty() || !e.has_shape || !e.has_offsets)
      bad(cat(where, " has no \"", e.type.empty() ? "dtype" : e.has_shape ? "data_offsets" : "shape", "\""));
    const SafetensorsType* type = find_safetensors_type(e.type);
    if (!type) bad(cat(where, " has the unknown dtype \"", shown(e.type), "\""));
    if (e.offsets.size() != 2 || e.offsets[0] > e.offsets[1])
      bad(cat(where, " has \"data_offsets\" that are no range: [", join(e.offsets), "]"));
    uint64_t elements = 1;
    SafetensorsTensor t;
    bool zero = false;
    for (uint64_t d : e.shape) {
      // With a 0 among them the product is 0; the others must not overflow on their own either.
      zero = zero || d == 0;
      if (__builtin_mul_overflow(elements, std::max<uint64_t>(d, 1), &elements) || elements > kMaxElements)
        bad(cat(where, " has the shape [", join(e.shape), "], whose product is too large"));
      t.shape.push_back(static_cast<int64_t>(d));
    }
    if (zero) elements = 0;
    const uint64_t bytes = e.offsets[1] - e.offsets[0];
    if (bytes != elements * type->bytes)
      bad(cat(where, " has ", bytes, " bytes; ", type->name, " of shape ", t.shape.str(), " takes ",
              elements * type->bytes));
    if (e.offsets[1] > data.size())
      throw Error(ErrorCode::Truncated,
                  cat("the file ends before its tensors do: ", where, " ends at byte ",
                      8 + length + e.offsets[1], ", the file at ", bytes_.size()),
                  path_);
    t.name = std::move(e.name);
    t.type = std::string(type->name);
    t.dtype = type->dtype;
    t.offset = e.offsets[0];
    t.data = data.subspan(e.offsets[0], bytes);
    tensors_.push_back(std::move(t));
  }
  // Each byte belongs to one tensor.
  std::sort(tensors_.begin(), tensors_.end(), [](const SafetensorsTensor& a, const SafetensorsTensor& b) {
    return std::pair(a.offset, a.data.size()) < std::pair(b.offset, b.data.size());
  });
  uint64_t end = 0;
  for (const SafetensorsTensor& t : tensors_) {
    if (t.offset != end)
      bad(cat("tensor \"", shown(t.name), "\" begins at byte ", t.offset, " of the data, ",
              t.offset < end ? "within the one before it" : "after bytes that belong to none"));
    end = t.offset + t.data.size();
  }
  if (end != data.size()) bad(cat(data.size() - end, " bytes after the last tensor belong to none"));
  std::sort(tensors_.begin(), tensors_.end(),
            [](const SafetensorsTensor& a, const SafetensorsTensor& b) { return a.name < b.name; });
  for (size_t i = 1; i < tensors_.size(); ++i)
    if (tensors_[i].name == tensors_[i - 1].name)
      bad(cat("tensor \"", shown(tensors_[i].name), "\" is there twice"));
}

std::shared_ptr<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  std::shared_ptr<SafetensorsFile> f(new SafetensorsFile);
  f->path_ = path;
  f->bytes_ = map_file(path);
  f->mapped_ = true;
  f->parse();
  return f;
}

std::shared_ptr<SafetensorsFile> SafetensorsFile::from_memory(std::span<const std::byte> bytes,
                                                              std::string name) {
  std::shared_ptr<SafetensorsFile> f(new SafetensorsFile);
  f->path_ = std::move(name);
  f->bytes_ = bytes;
  f->parse();
  return f;
}

SafetensorsFile::~SafetensorsFile() {
  if (mapped_) unmap_file(bytes_);
}

const SafetensorsTensor* SafetensorsFile::find(std::string_view name) const {
  auto it = std::lower_bound(tensors_.begin(), tensors_.end(), name, kByName);
  return it != tensors_.end() && it->name == name ? &*it : nullptr;
}

const SafetensorsTensor& SafetensorsFile::require(std::string_view name) const {
  const SafetensorsTensor* t = find(name);
  if (!t) throw Error(ErrorCode::BadModel, cat("the tensor \"", shown(name), "\" is missing"), path_);
  return *t;
}

Array SafetensorsFile::array(const SafetensorsTensor& t) const {
  if (!t.dtype)
    throw Error(ErrorCode::DtypeMismatch,
                cat("tensor \"", shown(t.name), "\" is stored as ", t.type, ", which can't be computed on"),
                path_);
  if (reinterpret_cast<uintptr_t>(t.data.data()) % std::min<size_t>(itemsize(*t.dtype), 8) != 0 ||
      t.data.empty())
    return Array::from_bytes(t.data.data(), t.shape, *t.dtype);
  return Array::wrap(t.data.data(), t.shape, *t.dtype, shared_from_this(),
                     mapped_ ? Memory::MappedFile : Memory::Constant);
}

SafetensorsSet SafetensorsSet::open(const std::string& directory) {
  SafetensorsSet set;
  const std::string index = directory + "/model.safetensors.index.json";
  std::map<std::string, std::string> shard_of;
  struct stat st {};
  if (::stat(index.c_str(), &st) == 0) {
    const std::string text = read_small_file(index, kMaxHeader);
    auto bad = [&](const std::string& what) { throw Error(ErrorCode::BadFormat, what, index); };
    // A callback that refuses depth: an index is an object of two flat ones.
    const Json j = Json::parse(
        text,
        [&](int depth, Json::parse_event_t, Json&) {
          if (depth > 4) bad("nests too deeply");
          return true;
        },
        false);
    if (j.is_discarded()) bad("the index is not JSON");
    if (!j.is_object() || !j.contains("weight_map") || !j["weight_map"].is_object() ||
        j["weight_map"].empty())
      bad("the index has no object \"weight_map\" with entries");
    std::vector<std::string> names;
    for (const auto& [tensor, file] : j["weight_map"].items()) {
      if (!file.is_string()) bad(cat("\"weight_map\" gives tensor \"", shown(tensor), "\" no file's name"));
      const auto& name = file.get_ref<const std::string&>();
      if (name.empty() || name.front() == '.' || name.find('/') != std::string::npos ||
          name.find('\0') != std::string::npos || !name.ends_with(".safetensors"))
        bad(cat("\"weight_map\" names \"", shown(name),
                "\", which is no safetensors file of this directory"));
      shard_of[tensor] = name;
      names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    std::map<std::string, SafetensorsFile*> by_name;
    for (const std::string& n : names) {
      set.files_.push_back(SafetensorsFile::open(cat(directory, "/", n)));
      by_name[n] = set.files_.back().get();
    }
    for (const auto& [tensor, file] : shard_of)
      if (!by_name[file]->find(tensor))
        bad(cat("tensor \"", shown(tensor), "\" is not in ", file, " as the index says"));
  } else {
    const std::string single = directory + "/model.safetensors";
    if (::stat(single.c_str(), &st) != 0)
      throw Error(ErrorCode::FileNotFound,
                  "the directory has neither model.safetensors nor model.safetensors.index.json", directory,
                  "only safetensors weights are read; convert .bin or .pt files first");
    set.files_.push_back(SafetensorsFile::open(single));
  }
  for (const auto& f : set.files_)
    for (const SafetensorsTensor& t : f->tensors()) {
      if (!shard_of.empty() && !shard_of.contains(t.name)) continue;
      set.entries_.push_back({&t, f});
    }
  std::sort(set.entries_.begin(), set.entries_.end(),
            [](const Entry& a, const Entry& b) { return a.tensor->name < b.tensor->name; });
  for (size_t i = 1; i < set.entries_.size(); ++i)
    if (set.entries_[i].tensor->name == set.entries_[i - 1].tensor->name)
      throw Error(ErrorCode::BadFormat,
                  cat("tensor \"", shown(set.entries_[i].tensor->name), "\" is in two shards: ",
                      set.entries_[i - 1].file->path(), " and ", set.entries_[i].file->path()),
                  index);
  return set;
}

const SafetensorsSet::Entry* SafetensorsSet::find(std::string_view name) const {
  auto it = std::lower_bound(entries_.begin(), entries_.end(), name,
                             [](const Entry& e, std::string_view n) { return e.tensor->name < n; });
  return it != entries_.end() && it->tensor->name == name ? &*it : nullptr;
}

}  // namespace mc
