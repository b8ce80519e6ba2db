// The reader of GGUF files. Nothing is believed before it is checked against the bytes that are there.
#include "mc/gguf.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>

#include "gguf_text.h"
#include "mapped_file.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/sha256.h"

namespace mc {
namespace {

// Far beyond any model; they bound the tables that are built from a file.
constexpr uint64_t kMaxKeys = 1'000'000, kMaxTensors = 1'000'000;
constexpr uint64_t kMaxKeyBytes = 65535;
constexpr int kMaxArrayDepth = 4;
// A length above this is nonsense and not a sign of a shortened file.
constexpr uint64_t kMaxLength = uint64_t{1} << 44;
// The least bytes that a metadata entry (length, type, u8) and a tensor entry (length, dims, type, offset)
// take.
constexpr uint64_t kMinKeyEntry = 8 + 4 + 1, kMinTensorEntry = 8 + 4 + 4 + 8;

}  // namespace

class GgufParser {
 public:
  explicit GgufParser(GgufFile& file) : f_(file), bytes_(file.bytes_) {}

  void parse() {
    header();
    metadata();
    tensor_table();
    data();
  }

  // One value from bytes that were checked before.
  static GgufValue inner_array(const std::byte*& p);

 private:
  [[noreturn]] void bad(const std::string& what) const { throw Error(ErrorCode::BadFormat, what, f_.path_); }

  // `need` more bytes from here, for `what`.
  void want(uint64_t need, std::string_view what) const {
    if (need <= bytes_.size() - pos_) return;
    if (need > kMaxLength) bad(cat(what, " has an impossible length, ", need, " bytes, at byte ", pos_));
    throw Error(ErrorCode::Truncated,
                cat("the file ends within ", what, ": expected at least ", pos_ + need, " bytes, actual ",
                    bytes_.size()),
                f_.path_);
  }
  // `count` entries of at least `each` bytes: the check comes before the product.
  void want_entries(uint64_t count, uint64_t each, std::string_view what) const {
    if (count > kMaxLength) bad(cat(what, " has an impossible count, ", count));
    want(count * each, what);
  }
  template <class T>
  T take(std::string_view what) {
    want(sizeof(T), what);
    T v;
    std::memcpy(&v, bytes_.data() + pos_, sizeof v);
    pos_ += sizeof v;
    return v;
  }
  std::string_view take_string(std::string_view what) {
    auto n = take<uint64_t>(what);
    want(n, what);
    std::string_view s(reinterpret_cast<const char*>(bytes_.data() + pos_), n);
    pos_ += n;
    return s;
  }

  void header();
  void metadata();
  GgufType take_type(std::string_view key);
  GgufValue take_value(GgufType type, std::string_view key);
  GgufValue take_array(std::string_view key, int depth);
  void check_bools(std::span<const std::byte> values, std::string_view key) const;
  void tensor_table();
  void data();

  GgufFile& f_;
  std::span<const std::byte> bytes_;
  uint64_t pos_ = 0;
  uint64_t n_keys_ = 0, n_tensors_ = 0;
  std::vector<uint64_t> tensor_bytes_;
};

void GgufParser::header() {
  if (bytes_.empty())
    throw Error(ErrorCode::Truncated, "the file is empty: expected at least 24 bytes, actual 0", f_.path_);
  size_t n = std::min<size_t>(bytes_.size(), 4);
  if (std::memcmp(bytes_.data(), "GGUF", n) != 0) {
    std::string_view head(reinterpret_cast<const char*>(bytes_.data()), n);
    std::string hint;
    if (head == "<!DO" || head == "<htm" || head == "<HTM") hint = ", it looks like a web page";
    if (head == "vers") hint = ", it looks like a Git LFS pointer, not the file itself";
    if (head.starts_with("PK")) hint = ", it looks like a zip archive";
    bad(cat("not a GGUF file: it begins with \"", shown(head), "\" instead of \"GGUF\"", hint));
  }
  want(4, "the magic");
  pos_ = 4;
  f_.version_ = take<uint32_t>("the version");
  if (f_.version_ != 2 && f_.version_ != 3) {
    if ((f_.version_ & 0xFFFF) == 0 && f_.version_ != 0)
      bad("a big-endian GGUF file; only little-endian ones can be read");
    bad(cat("GGUF version ", f_.version_, " can't be read, only 2 and 3"));
  }
  n_tensors_ = take<uint64_t>("the header");
  n_keys_ = take<uint64_t>("the header");
  if (n_keys_ > kMaxKeys)
    bad(cat("the header asks for ", n_keys_, " metadata keys; at most ", kMaxKeys, " are read"));
  if (n_tensors_ > kMaxTensors)
    bad(cat("the header asks for ", n_tensors_, " tensors; at most ", kMaxTensors, " are read"));
  want_entries(n_keys_, kMinKeyEntry, "the metadata");
}

GgufType GgufParser::take_type(std::string_view key) {
  auto t = take<uint32_t>(key);
  if (t > static_cast<uint32_t>(GgufType::F64))
    bad(cat("metadata key \"", shown(key), "\" has unknown type ", t));
  return static_cast<GgufType>(t);
}

void GgufParser::check_bools(std::span<const std::byte> values, std::string_view key) const {
  for (std::byte b : values)
    if (b > std::byte{1}) bad(cat("metadata key \"", shown(key), "\" holds a bool that is neither 0 nor 1"));
}

GgufValue GgufParser::take_value(GgufType type, std::string_view key) {
  if (type == GgufType::Array) return take_array(key, 1);
  GgufValue v;
  v.type_ = v.element_ = type;
  if (type == GgufType::String) {
    std::string_view s = take_string(key);
    v.bytes_ = {reinterpret_cast<const std::byte*>(s.data()), s.size()};
    return v;
  }
  size_t n = gguf_scalar_bytes(type);
  want(n, key);
  v.bytes_ = bytes_.subspan(pos_, n);
  pos_ += n;
  if (type == GgufType::Bool) check_bools(v.bytes_, key);
  return v;
}

GgufValue GgufParser::take_array(std::string_view key, int depth) {
  if (depth > kMaxArrayDepth)
    bad(cat("metadata key \"", shown(key), "\" nests arrays deeper than ", kMaxArrayDepth));
  GgufValue v;
  v.type_ = GgufType::Array;
  v.element_ = take_type(key);
  v.size_ = take<uint64_t>(key);
  uint64_t start = pos_;
  if (size_t each = gguf_scalar_bytes(v.element_)) {
    want_entries(v.size_, each, key);
    pos_ += v.size_ * each;
  } else if (v.element_ == GgufType::String) {
    want_entries(v.size_, 8, key);
    for (uint64_t i = 0; i < v.size_; ++i) take_string(key);
  } else {
    want_entries(v.size_, 12, key);
    for (uint64_t i = 0; i < v.size_; ++i) take_array(key, depth + 1);
  }
  v.bytes_ = bytes_.subspan(start, pos_ - start);
  if (v.element_ == GgufType::Bool) check_bools(v.bytes_, key);
  return v;
}

namespace {
// Indices of `items` sorted by name. Sorting, not hashing, so that no choice of names makes it quadratic.
template <class Items, class Name>
std::vector<uint32_t> sorted_by(const Items& items, Name name) {
  std::vector<uint32_t> order(items.size());
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return name(items[a]) < name(items[b]); });
  return order;
}
template <class Items, class Name>
const typename Items::value_type* search(const Items& items, const std::vector<uint32_t>& order,
                                         std::string_view key, Name name) {
  auto it = std::lower_bound(order.begin(), order.end(), key,
                             [&](uint32_t i, std::string_view k) { return name(items[i]) < k; });
  return it != order.end() && name(items[*it]) == key ? &items[*it] : nullptr;
}
constexpr auto kKeyOf = [](const std::pair<std::string_view, GgufValue>& e) { return e.first; };
constexpr auto kNameOf = [](const GgufTensor& t) { return t.name; };
}  // namespace

void GgufParser::metadata() {
  f_.metadata_.reserve(n_keys_);
  for (uint64_t i = 0; i < n_keys_; ++i) {
    std::string_view key = take_string("a metadata key");
    if (key.empty() || key.size() > kMaxKeyBytes)
      bad(cat("metadata key number ", i, " has ", key.size(), " bytes; it must have 1 to ", kMaxKeyBytes));
    GgufType type = take_type(key);
    f_.metadata_.emplace_back(key, take_value(type, key));
  }
  f_.keys_sorted_ = sorted_by(f_.metadata_, kKeyOf);
  for (size_t i = 1; i < f_.keys_sorted_.size(); ++i) {
    std::string_view key = f_.metadata_[f_.keys_sorted_[i]].first;
    if (key == f_.metadata_[f_.keys_sorted_[i - 1]].first)
      bad(cat("metadata key \"", shown(key), "\" is there twice"));
  }
  if (const GgufValue* a = f_.find("general.alignment")) {
    auto v = a->as_u64();
    // Below 8, the elements of a tensor would not be aligned in memory; the format demands a multiple of 8.
    if (!v || *v < 8 || *v > (uint64_t{1} << 31) || (*v & (*v - 1)))
      bad(cat("general.alignment is ", a->str(), "; it must be a power of two from 8 to 2147483648"));
    f_.alignment_ = static_cast<uint32_t>(*v);
  }
}

void GgufParser::tensor_table() {
  want_entries(n_tensors_, kMinTensorEntry, "the tensor table");
  f_.tensors_.reserve(n_tensors_);
  tensor_bytes_.reserve(n_tensors_);
  for (uint64_t i = 0; i < n_tensors_; ++i) {
    GgufTensor t;
    t.name = take_string("a tensor's name");
    if (t.name.empty() || t.name.size() > kMaxKeyBytes)
      bad(cat("the name of tensor number ", i, " has ", t.name.size(), " bytes; it must have 1 to ",
              kMaxKeyBytes));
    auto where = [&] { return cat("tensor \"", shown(t.name), "\""); };
    auto n_dims = take<uint32_t>("the tensor table");
    if (n_dims > kGgufMaxDims)
      bad(cat(where(), " has ", n_dims, " dimensions; at most ", kGgufMaxDims, " are allowed"));
    uint64_t elements = 1;
    for (uint32_t d = 0; d < n_dims; ++d) {
      auto dim = take<uint64_t>("the tensor table");
      if (dim > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
        bad(cat(where(), " has dimension ", dim, ", which is too large"));
      t.ggml_dims.push_back(static_cast<int64_t>(dim));
      // With a 0 among them the product stays 0; the others must not overflow on their own either.
      uint64_t product = 0;
      if (__builtin_mul_overflow(elements, std::max<uint64_t>(dim, 1), &product) || product > kMaxLength)
        bad(cat(where(), " has dimensions ", t.ggml_dims.str(), ", whose product is too large"));
      elements = product;
    }
    t.shape = t.ggml_dims;
    std::reverse(t.shape.begin(), t.shape.end());
    if (t.ggml_dims.contains(0)) elements = 0;
    t.type = static_cast<GgmlType>(take<uint32_t>("the tensor table"));
    t.offset = take<uint64_t>("the tensor table");
    uint64_t bytes = 0;
    if (const GgmlTypeInfo* info = ggml_type_info(t.type)) {
      int64_t row = n_dims ? t.ggml_dims[0] : 1;
      if (row % info->block_elements)
        bad(cat(where(), " is ", info->name, " with rows of ", row, ", which is no multiple of ",
                info->block_elements));
      bytes = elements / info->block_elements * info->block_bytes;  // at most 2^44 · 8
    }
    if (t.offset % f_.alignment_)
      bad(cat(where(), " begins at offset ", t.offset, ", which is no multiple of the alignment ",
              f_.alignment_));
    if (t.offset > kMaxLength) bad(cat(where(), " has an impossible offset, ", t.offset));
    f_.tensors_.push_back(t);
    tensor_bytes_.push_back(bytes);
  }
  f_.names_sorted_ = sorted_by(f_.tensors_, kNameOf);
  for (size_t i = 1; i < f_.names_sorted_.size(); ++i) {
    std::string_view name = f_.tensors_[f_.names_sorted_[i]].name;
    if (name == f_.tensors_[f_.names_sorted_[i - 1]].name)
      bad(cat("tensor \"", shown(name), "\" is there twice"));
  }
}

void GgufParser::data() {
  if (n_tensors_ == 0) return;
  uint64_t start = (pos_ + f_.alignment_ - 1) / f_.alignment_ * f_.alignment_;
  std::vector<uint32_t> order(f_.tensors_.size());
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return std::pair(f_.tensors_[a].offset, tensor_bytes_[a]) <
           std::pair(f_.tensors_[b].offset, tensor_bytes_[b]);
  });
  uint64_t end = 0;
  std::string_view before;
  for (uint32_t i : order) {
    const GgufTensor& t = f_.tensors_[i];
    if (tensor_bytes_[i] && t.offset < end)
      bad(cat("tensors \"", shown(before), "\" and \"", shown(t.name), "\" overlap"));
    if (t.offset + tensor_bytes_[i] > end) {
      end = t.offset + tensor_bytes_[i];
      before = t.name;
    }
  }
  if (start + end > bytes_.size())
    throw Error(ErrorCode::Truncated,
                cat("the file ends before its tensors do: expected ", start + end, " bytes, actual ",
                    bytes_.size(), " (the last tensor is \"", shown(before), "\")"),
                f_.path_);
  for (size_t i = 0; i < f_.tensors_.size(); ++i)
    f_.tensors_[i].data = bytes_.subspan(start + f_.tensors_[i].offset, tensor_bytes_[i]);
}

GgufValue GgufParser::inner_array(const std::byte*& p) {
  GgufValue v;
  v.type_ = GgufType::Array;
  uint32_t type = 0;
  std::memcpy(&type, p, 4);
  v.element_ = static_cast<GgufType>(type);
  std::memcpy(&v.size_, p + 4, 8);
  p += 12;
  const std::byte* start = p;
  if (size_t each = gguf_scalar_bytes(v.element_)) {
    p += v.size_ * each;
  } else {
    for (uint64_t i = 0; i < v.size_; ++i) {
      if (v.element_ == GgufType::Array) {
        inner_array(p);
        continue;
      }
      uint64_t n = 0;
      std::memcpy(&n, p, 8);
      p += 8 + n;
    }
  }
  v.bytes_ = {start, p};
  return v;
}

std::vector<GgufValue> GgufValue::arrays() const {
  std::vector<GgufValue> out;
  if (type_ != GgufType::Array || element_ != GgufType::Array) return out;
  out.reserve(size_);
  const std::byte* p = bytes_.data();
  for (uint64_t i = 0; i < size_; ++i) out.push_back(GgufParser::inner_array(p));
  return out;
}

std::shared_ptr<GgufFile> GgufFile::open(const std::string& path) {
  std::shared_ptr<GgufFile> f(new GgufFile);
  f->path_ = path;
  f->bytes_ = map_file(path);
  f->mapped_ = true;
  GgufParser(*f).parse();
  return f;
}

std::shared_ptr<GgufFile> GgufFile::from_memory(std::span<const std::byte> bytes, std::string name) {
  std::shared_ptr<GgufFile> f(new GgufFile);
  f->path_ = std::move(name);
  f->bytes_ = bytes;
  GgufParser(*f).parse();
  return f;
}

std::shared_ptr<GgufFile> GgufFile::assemble(std::string path, std::vector<std::byte> metadata,
                                             std::vector<GgufTensor> tensors,
                                             std::vector<std::span<const std::byte>> parts,
                                             std::shared_ptr<const void> keep) {
  std::shared_ptr<GgufFile> f(new GgufFile);
  f->path_ = std::move(path);
  f->owned_ = std::move(metadata);
  f->bytes_ = f->owned_;
  GgufParser(*f).parse();
  f->tensors_ = std::move(tensors);
  f->parts_ = std::move(parts);
  f->keep_ = std::move(keep);
  f->names_sorted_ = sorted_by(f->tensors_, kNameOf);
  for (size_t i = 1; i < f->names_sorted_.size(); ++i) {
    std::string_view name = f->tensors_[f->names_sorted_[i]].name;
    if (name == f->tensors_[f->names_sorted_[i - 1]].name)
      throw Error(ErrorCode::BadModel, cat("two tensors stand for \"", shown(name), "\""), f->path_);
  }
  return f;
}

std::string GgufFile::content_sha256() const {
  Sha256 hash;
  // Piece by piece, and out of memory again: a model larger than memory has a hash, too.
  constexpr size_t kPiece = size_t{4} << 20;
  auto add = [&](std::span<const std::byte> bytes, bool mapped) {
    for (size_t at = 0; at < bytes.size(); at += kPiece) {
      const std::span<const std::byte> piece = bytes.subspan(at, std::min(kPiece, bytes.size() - at));
      hash.update(piece);
      if (mapped) forget_pages(piece);
    }
  };
  if (parts_.empty()) add(bytes_, mapped_);
  for (std::span<const std::byte> p : parts_) add(p, true);
  return hash.hex();
}

GgufFile::~GgufFile() {
  if (mapped_) unmap_file(bytes_);
}

const GgufValue* GgufFile::find(std::string_view key) const {
  auto* e = search(metadata_, keys_sorted_, key, kKeyOf);
  return e ? &e->second : nullptr;
}

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  return search(tensors_, names_sorted_, name, kNameOf);
}

const GgufTensor& GgufFile::require_tensor(std::string_view name) const {
  const GgufTensor* t = find_tensor(name);
  if (!t) throw Error(ErrorCode::BadModel, cat("the tensor \"", shown(name), "\" is missing"), path_);
  const GgmlTypeInfo* info = ggml_type_info(t->type);
  if (!t->affine && (!info || !info->computable))
    throw Error(ErrorCode::BadModel,
                cat("the tensor \"", shown(name), "\" is stored as ", ggml_type_name(t->type),
                    ", which can't be computed on"),
                path_, "use a file quantized to one of F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K Q6_K");
  return *t;
}

void GgufFile::require_computable() const {
  std::map<GgmlType, std::pair<uint64_t, std::string_view>> others;
  for (const GgufTensor& t : tensors_) {
    const GgmlTypeInfo* info = ggml_type_info(t.type);
    if (t.affine || (info && info->computable)) continue;
    auto& o = others[t.type];
    if (o.first++ == 0) o.second = t.name;
  }
  if (others.empty()) return;
  std::string list;
  size_t listed = 0;
  for (const auto& [type, o] : others) {
    if (listed++ == 16) {
      list += cat(", … ", others.size(), " types in all");
      break;
    }
    list += cat(list.empty() ? "" : ", ", ggml_type_name(type), " (", o.first, " tensors, for example ",
                shown(o.second), ")");
  }
  throw Error(ErrorCode::BadModel, cat("tensors are stored in types that can't be computed on: ", list),
              path_, "use a file quantized to one of F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K Q6_K");
}

void GgufFile::missing(std::string_view key) const {
  throw Error(ErrorCode::BadModel, cat("the metadata key \"", shown(key), "\" is missing"), path_);
}

template <class T, class Get>
std::optional<T> GgufFile::typed(std::string_view key, std::string_view wanted, Get get) const {
  const GgufValue* v = find(key);
  if (!v) return {};
  std::optional<T> r = get(*v);
  if (!r)
    throw Error(
        ErrorCode::BadModel,
        cat("the metadata key \"", shown(key), "\" must be ", wanted, ", but it is ",
            v->type() == GgufType::Array ? "an array" : cat(gguf_type_name(v->type()), " ", v->str())),
        path_);
  return r;
}

namespace {
template <class T>
std::optional<T> as_unsigned(const GgufValue& v) {
  auto x = v.as_u64();
  if (!x || *x > std::numeric_limits<T>::max()) return {};
  return static_cast<T>(*x);
}
std::optional<float> as_float(const GgufValue& v) {
  auto x = v.as_f64();
  if (!x) return {};
  return static_cast<float>(*x);
}
constexpr std::string_view kU32 = "an integer from 0 to 4294967295", kU64 = "an integer of at least 0",
                           kF32 = "a float", kBool = "a bool", kString = "a string";
}  // namespace

uint32_t GgufFile::u32(std::string_view key, uint32_t d) const {
  return typed<uint32_t>(key, kU32, as_unsigned<uint32_t>).value_or(d);
}
uint64_t GgufFile::u64(std::string_view key, uint64_t d) const {
  return typed<uint64_t>(key, kU64, as_unsigned<uint64_t>).value_or(d);
}
float GgufFile::f32(std::string_view key, float d) const {
  return typed<float>(key, kF32, as_float).value_or(d);
}
bool GgufFile::boolean(std::string_view key, bool d) const {
  return typed<bool>(key, kBool, [](const GgufValue& v) { return v.as_bool(); }).value_or(d);
}
std::string_view GgufFile::string(std::string_view key, std::string_view d) const {
  return typed<std::string_view>(key, kString, [](const GgufValue& v) { return v.as_string(); }).value_or(d);
}
uint32_t GgufFile::require_u32(std::string_view key) const {
  return find(key) ? u32(key, 0) : (missing(key), 0);
}
uint64_t GgufFile::require_u64(std::string_view key) const {
  return find(key) ? u64(key, 0) : (missing(key), 0);
}
float GgufFile::require_f32(std::string_view key) const {
  return find(key) ? f32(key, 0) : (missing(key), 0.0F);
}
bool GgufFile::require_bool(std::string_view key) const {
  return find(key) ? boolean(key, false) : (missing(key), false);
}
std::string_view GgufFile::require_string(std::string_view key) const {
  return find(key) ? string(key, {}) : (missing(key), std::string_view());
}

const GgufValue& GgufFile::require_array(std::string_view key, GgufType element) const {
  const GgufValue* v = find(key);
  if (!v) missing(key);
  if (v->type() != GgufType::Array || v->element_type() != element)
    throw Error(ErrorCode::BadModel,
                cat("the metadata key \"", shown(key), "\" must be an array of ", gguf_type_name(element),
                    ", but it is ",
                    v->type() == GgufType::Array ? cat("an array of ", gguf_type_name(v->element_type()))
                                                 : std::string(gguf_type_name(v->type()))),
                path_);
  return *v;
}

}  // namespace mc
