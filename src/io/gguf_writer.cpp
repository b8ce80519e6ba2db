// The writer of GGUF files: version 3, whole or not at all.
#include <cstring>
#include <set>

#include "atomic_file.h"
#include "gguf_text.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/gguf.h"

namespace mc {
namespace {

template <class T>
void put(std::string& out, T v) {
  out.append(reinterpret_cast<const char*>(&v), sizeof v);
}
void put_string(std::string& out, std::string_view s) {
  put<uint64_t>(out, s.size());
  out.append(s);
}

struct Pending {
  std::string name;
  GgmlType type;
  std::vector<int64_t> dims;
  std::span<const std::byte> data;
  uint64_t offset;
};

}  // namespace

struct GgufWriter::State {
  uint32_t alignment = 32;
  bool opening = true;  // while the constructor runs
  std::set<std::string, std::less<>> keys, names;
  std::string metadata;
  std::vector<Pending> tensors;
  uint64_t data_bytes = 0;

  std::string& begin(std::string_view key, GgufType type) {
    if (key.empty() || key.size() > 65535)
      throw Error(ErrorCode::InvalidArgument, cat("a GGUF key must have 1 to 65535 bytes, not ", key.size()));
    if (key == "general.alignment" && !opening)
      throw Error(ErrorCode::InvalidArgument, "general.alignment is set by GgufWriter's constructor");
    if (!keys.emplace(key).second)
      throw Error(ErrorCode::InvalidArgument, cat("the GGUF key \"", shown(key), "\" is set twice"));
    put_string(metadata, key);
    put(metadata, static_cast<uint32_t>(type));
    return metadata;
  }
  std::string& begin_array(std::string_view key, GgufType element, uint64_t n) {
    begin(key, GgufType::Array);
    put(metadata, static_cast<uint32_t>(element));
    put(metadata, n);
    return metadata;
  }
  template <class T>
  void scalar(std::string_view key, GgufType type, T v) {
    put(begin(key, type), v);
  }
  template <class T>
  void numbers(std::string_view key, GgufType type, std::span<const T> v) {
    begin_array(key, type, v.size()).append(reinterpret_cast<const char*>(v.data()), v.size_bytes());
  }

  // Header, metadata and tensor table, padded to where the data begins.
  std::string head() const {
    std::string out = "GGUF";
    put<uint32_t>(out, 3);
    put<uint64_t>(out, tensors.size());
    put<uint64_t>(out, keys.size());
    out += metadata;
    for (const Pending& t : tensors) {
      put_string(out, t.name);
      put(out, static_cast<uint32_t>(t.dims.size()));
      for (int64_t d : t.dims) put(out, d);
      put(out, static_cast<uint32_t>(t.type));
      put(out, t.offset);
    }
    out.resize((out.size() + alignment - 1) / alignment * alignment, '\0');
    return out;
  }
  // Calls sink(pointer, bytes) for the whole file in order.
  template <class Sink>
  void emit(Sink sink) const {
    std::string h = head();
    sink(h.data(), h.size());
    const std::string zeros(alignment, '\0');
    for (const Pending& t : tensors) {
      sink(t.data.data(), t.data.size());
      sink(zeros.data(), (alignment - t.data.size() % alignment) % alignment);
    }
  }
};

GgufWriter::GgufWriter(uint32_t alignment) : s_(std::make_unique<State>()) {
  if (alignment < 8 || alignment > (1U << 20) || (alignment & (alignment - 1)))
    throw Error(ErrorCode::InvalidArgument,
                cat("GGUF alignment must be a power of two from 8 to 1048576, not ", alignment));
  s_->alignment = alignment;
  if (alignment != 32) set_u32("general.alignment", alignment);
  s_->opening = false;
}
GgufWriter::~GgufWriter() = default;

void GgufWriter::set_u8(std::string_view k, uint8_t v) { s_->scalar(k, GgufType::U8, v); }
void GgufWriter::set_i8(std::string_view k, int8_t v) { s_->scalar(k, GgufType::I8, v); }
void GgufWriter::set_u16(std::string_view k, uint16_t v) { s_->scalar(k, GgufType::U16, v); }
void GgufWriter::set_i16(std::string_view k, int16_t v) { s_->scalar(k, GgufType::I16, v); }
void GgufWriter::set_u32(std::string_view k, uint32_t v) { s_->scalar(k, GgufType::U32, v); }
void GgufWriter::set_i32(std::string_view k, int32_t v) { s_->scalar(k, GgufType::I32, v); }
void GgufWriter::set_u64(std::string_view k, uint64_t v) { s_->scalar(k, GgufType::U64, v); }
void GgufWriter::set_i64(std::string_view k, int64_t v) { s_->scalar(k, GgufType::I64, v); }
void GgufWriter::set_f32(std::string_view k, float v) { s_->scalar(k, GgufType::F32, v); }
void GgufWriter::set_f64(std::string_view k, double v) { s_->scalar(k, GgufType::F64, v); }
void GgufWriter::set_bool(std::string_view k, bool v) {
  s_->scalar(k, GgufType::Bool, static_cast<uint8_t>(v));
}
void GgufWriter::set_string(std::string_view k, std::string_view v) {
  put_string(s_->begin(k, GgufType::String), v);
}
void GgufWriter::set_u8s(std::string_view k, std::span<const uint8_t> v) { s_->numbers(k, GgufType::U8, v); }
void GgufWriter::set_u32s(std::string_view k, std::span<const uint32_t> v) {
  s_->numbers(k, GgufType::U32, v);
}
void GgufWriter::set_i32s(std::string_view k, std::span<const int32_t> v) {
  s_->numbers(k, GgufType::I32, v);
}
void GgufWriter::set_f32s(std::string_view k, std::span<const float> v) { s_->numbers(k, GgufType::F32, v); }
void GgufWriter::set_strings(std::string_view k, std::span<const std::string_view> v) {
  std::string& out = s_->begin_array(k, GgufType::String, v.size());
  for (std::string_view s : v) put_string(out, s);
}
void GgufWriter::set_strings(std::string_view k, std::span<const std::string> v) {
  std::string& out = s_->begin_array(k, GgufType::String, v.size());
  for (const std::string& s : v) put_string(out, s);
}
void GgufWriter::set(std::string_view k, const GgufValue& v) {
  auto* p = reinterpret_cast<const char*>(v.bytes().data());
  if (v.type() == GgufType::String) return set_string(k, *v.as_string());
  std::string& out =
      v.type() == GgufType::Array ? s_->begin_array(k, v.element_type(), v.size()) : s_->begin(k, v.type());
  out.append(p, v.bytes().size());
}

void GgufWriter::add_tensor(std::string_view name, GgmlType type, std::span<const int64_t> dims,
                            std::span<const std::byte> data) {
  auto bad = [&](const std::string& what) {
    throw Error(ErrorCode::InvalidArgument, what, cat("tensor \"", shown(name), "\""));
  };
  const GgmlTypeInfo* info = ggml_type_info(type);
  if (!info) bad(cat("the size of ", ggml_type_name(type), " is not known"));
  if (name.empty() || name.size() > 65535) bad("the name must have 1 to 65535 bytes");
  if (dims.size() > static_cast<size_t>(kGgufMaxDims))
    bad(cat("has ", dims.size(), " dimensions; at most 4 are allowed"));
  int64_t n = 1;
  for (int64_t d : dims)
    if (d < 0 || __builtin_mul_overflow(n, d, &n)) bad("has a negative dimension or too many elements");
  if ((dims.empty() ? 1 : dims[0]) % info->block_elements)
    bad(cat("rows of ", dims.empty() ? 1 : dims[0], " are no multiple of ", info->block_elements));
  uint64_t bytes = static_cast<uint64_t>(n) / info->block_elements * info->block_bytes;
  if (bytes != data.size()) bad(cat("needs ", bytes, " bytes, but ", data.size(), " are given"));
  if (!s_->names.emplace(name).second) bad("is added twice");
  s_->tensors.push_back({std::string(name), type, {dims.begin(), dims.end()}, data, s_->data_bytes});
  s_->data_bytes += (bytes + s_->alignment - 1) / s_->alignment * s_->alignment;
}

void GgufWriter::write(const std::string& path) const {
  AtomicFile file(path);
  s_->emit([&](const void* p, size_t n) { file.write(p, n); });
  file.commit();
}

std::vector<std::byte> GgufWriter::to_bytes() const {
  std::vector<std::byte> out;
  s_->emit([&](const void* p, size_t n) {
    auto* b = static_cast<const std::byte*>(p);
    out.insert(out.end(), b, b + n);
  });
  return out;
}

}  // namespace mc
