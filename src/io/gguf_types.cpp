// The storage types of GGUF and the values of its metadata.
#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "gguf_text.h"
#include "mc/detail/str.h"
#include "mc/gguf.h"

namespace mc {
namespace {

struct TypeRow {
  GgmlType type;
  GgmlTypeInfo info;
};
constexpr TypeRow kTypes[] = {
    {GgmlType::F32, {"F32", 1, 4, true}},
    {GgmlType::F16, {"F16", 1, 2, true}},
    {GgmlType::Q4_0, {"Q4_0", 32, 18, true}},
    {GgmlType::Q4_1, {"Q4_1", 32, 20, true}},
    {GgmlType::Q5_0, {"Q5_0", 32, 22, true}},
    {GgmlType::Q5_1, {"Q5_1", 32, 24, true}},
    {GgmlType::Q8_0, {"Q8_0", 32, 34, true}},
    {GgmlType::Q8_1, {"Q8_1", 32, 36, false}},
    {GgmlType::Q2_K, {"Q2_K", 256, 84, false}},
    {GgmlType::Q3_K, {"Q3_K", 256, 110, false}},
    {GgmlType::Q4_K, {"Q4_K", 256, 144, true}},
    {GgmlType::Q5_K, {"Q5_K", 256, 176, true}},
    {GgmlType::Q6_K, {"Q6_K", 256, 210, true}},
    {GgmlType::Q8_K, {"Q8_K", 256, 292, false}},
    {GgmlType::IQ2_XXS, {"IQ2_XXS", 256, 66, false}},
    {GgmlType::IQ2_XS, {"IQ2_XS", 256, 74, false}},
    {GgmlType::IQ3_XXS, {"IQ3_XXS", 256, 98, false}},
    {GgmlType::IQ1_S, {"IQ1_S", 256, 50, false}},
    {GgmlType::IQ4_NL, {"IQ4_NL", 32, 18, false}},
    {GgmlType::IQ3_S, {"IQ3_S", 256, 110, false}},
    {GgmlType::IQ2_S, {"IQ2_S", 256, 82, false}},
    {GgmlType::IQ4_XS, {"IQ4_XS", 256, 136, false}},
    {GgmlType::I8, {"I8", 1, 1, false}},
    {GgmlType::I16, {"I16", 1, 2, false}},
    {GgmlType::I32, {"I32", 1, 4, false}},
    {GgmlType::I64, {"I64", 1, 8, false}},
    {GgmlType::F64, {"F64", 1, 8, false}},
    {GgmlType::IQ1_M, {"IQ1_M", 256, 56, false}},
    {GgmlType::BF16, {"BF16", 1, 2, true}},
    {GgmlType::TQ1_0, {"TQ1_0", 256, 54, false}},
    {GgmlType::TQ2_0, {"TQ2_0", 256, 66, false}},
    {GgmlType::MXFP4, {"MXFP4", 32, 17, false}},
    {GgmlType::NVFP4, {"NVFP4", 64, 36, false}},
    {GgmlType::Q1_0, {"Q1_0", 128, 18, false}},
};

template <class T>
T load(const std::byte* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

template <class F>
bool with_integer(GgufType type, const std::byte* p, F f) {
  switch (type) {
    case GgufType::U8: return f(load<uint8_t>(p)), true;
    case GgufType::I8: return f(load<int8_t>(p)), true;
    case GgufType::U16: return f(load<uint16_t>(p)), true;
    case GgufType::I16: return f(load<int16_t>(p)), true;
    case GgufType::U32: return f(load<uint32_t>(p)), true;
    case GgufType::I32: return f(load<int32_t>(p)), true;
    case GgufType::U64: return f(load<uint64_t>(p)), true;
    case GgufType::I64: return f(load<int64_t>(p)), true;
    default: return false;
  }
}

std::string scalar_str(GgufType type, const std::byte* p) {
  if (type == GgufType::Bool) return load<uint8_t>(p) ? "true" : "false";
  if (type == GgufType::F32) return cat(load<float>(p));
  if (type == GgufType::F64) return cat(load<double>(p));
  std::string s;
  with_integer(type, p, [&](auto v) { s = cat(+v); });
  return s;
}

}  // namespace

const GgmlTypeInfo* ggml_type_info(GgmlType type) {
  for (const TypeRow& row : kTypes)
    if (row.type == type) return &row.info;
  return nullptr;
}

std::string ggml_type_name(GgmlType type) {
  const GgmlTypeInfo* info = ggml_type_info(type);
  return info ? std::string(info->name) : cat("type ", static_cast<uint32_t>(type));
}

std::string_view gguf_type_name(GgufType type) {
  constexpr std::string_view kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                         "bool", "string", "array", "u64", "i64", "f64"};
  auto i = static_cast<size_t>(type);
  return i < std::size(kNames) ? kNames[i] : "unknown";
}

size_t gguf_scalar_bytes(GgufType type) {
  switch (type) {
    case GgufType::U8:
    case GgufType::I8:
    case GgufType::Bool: return 1;
    case GgufType::U16:
    case GgufType::I16: return 2;
    case GgufType::U32:
    case GgufType::I32:
    case GgufType::F32: return 4;
    case GgufType::U64:
    case GgufType::I64:
    case GgufType::F64: return 8;
    default: return 0;
  }
}

std::string shown(std::string_view s, size_t max_bytes) {
  std::string out;
  size_t n = std::min(s.size(), max_bytes);
  // Don't cut a UTF-8 character in two.
  while (n < s.size() && n > 0 && (static_cast<unsigned char>(s[n]) & 0xC0) == 0x80) --n;
  for (char c : s.substr(0, n)) {
    auto u = static_cast<unsigned char>(c);
    if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (c == '\\' || c == '"')
      (out += '\\') += c;
    else if (u < 0x20 || u == 0x7F) {
      constexpr char kHex[] = "0123456789abcdef";
      out += "\\x";
      out += kHex[u >> 4];
      out += kHex[u & 15];
    } else {
      out += c;
    }
  }
  if (n < s.size()) out += "…";
  return out;
}

std::optional<uint64_t> GgufValue::as_u64() const {
  std::optional<uint64_t> r;
  with_integer(type_, bytes_.data(), [&](auto v) {
    if (v >= 0) r = static_cast<uint64_t>(v);
  });
  return r;
}

std::optional<int64_t> GgufValue::as_i64() const {
  std::optional<int64_t> r;
  with_integer(type_, bytes_.data(), [&](auto v) {
    if (std::in_range<int64_t>(v)) r = static_cast<int64_t>(v);
  });
  return r;
}

std::optional<double> GgufValue::as_f64() const {
  if (type_ == GgufType::F32) return load<float>(bytes_.data());
  if (type_ == GgufType::F64) return load<double>(bytes_.data());
  return {};
}

std::optional<bool> GgufValue::as_bool() const {
  if (type_ != GgufType::Bool) return {};
  return load<uint8_t>(bytes_.data()) != 0;
}

std::optional<std::string_view> GgufValue::as_string() const {
  if (type_ != GgufType::String) return {};
  return std::string_view(reinterpret_cast<const char*>(bytes_.data()), bytes_.size());
}

std::vector<int64_t> GgufValue::integers() const {
  std::vector<int64_t> out;
  size_t step = gguf_scalar_bytes(element_);
  if (type_ != GgufType::Array || step == 0 || element_ == GgufType::F32 || element_ == GgufType::F64)
    return out;
  out.reserve(size_);
  const std::byte* p = bytes_.data();
  for (uint64_t i = 0; i < size_; ++i, p += step) {
    int64_t x = 0;
    bool fits = true;
    if (!with_integer(element_, p,
                      [&](auto v) { (fits = std::in_range<int64_t>(v)), x = static_cast<int64_t>(v); }))
      x = load<uint8_t>(p);  // bool
    if (!fits) return {};
    out.push_back(x);
  }
  return out;
}

std::vector<float> GgufValue::floats() const {
  std::vector<float> out;
  if (type_ != GgufType::Array) return out;
  if (element_ == GgufType::F32) {
    out.resize(size_);
    if (size_) std::memcpy(out.data(), bytes_.data(), bytes_.size());
  } else if (element_ == GgufType::F64) {
    out.reserve(size_);
    for (uint64_t i = 0; i < size_; ++i)
      out.push_back(static_cast<float>(load<double>(bytes_.data() + 8 * i)));
  }
  return out;
}

// The parser has walked these bytes: the lengths in them are right.
std::vector<std::string_view> GgufValue::strings() const {
  std::vector<std::string_view> out;
  if (type_ != GgufType::Array || element_ != GgufType::String) return out;
  out.reserve(size_);
  const std::byte* p = bytes_.data();
  for (uint64_t i = 0; i < size_; ++i) {
    auto n = load<uint64_t>(p);
    out.emplace_back(reinterpret_cast<const char*>(p + 8), n);
    p += 8 + n;
  }
  return out;
}

std::string GgufValue::str(size_t max_elements) const {
  if (type_ == GgufType::String) return cat("\"", shown(*as_string(), 200), "\"");
  if (type_ != GgufType::Array) return scalar_str(type_, bytes_.data());
  std::string out = "[";
  size_t n = static_cast<size_t>(std::min<uint64_t>(size_, max_elements));
  if (element_ == GgufType::Array) {
    auto inner = arrays();
    for (size_t i = 0; i < n; ++i) out += cat(i ? ", " : "", inner[i].str(max_elements));
  } else if (element_ == GgufType::String) {
    const std::byte* p = bytes_.data();
    for (size_t i = 0; i < n; ++i) {
      auto len = load<uint64_t>(p);
      out += cat(i ? ", \"" : "\"", shown({reinterpret_cast<const char*>(p + 8), len}, 40), "\"");
      p += 8 + len;
    }
  } else {
    size_t step = gguf_scalar_bytes(element_);
    for (size_t i = 0; i < n; ++i) out += cat(i ? ", " : "", scalar_str(element_, bytes_.data() + i * step));
  }
  if (n < size_) out += cat(n ? ", " : "", "… ", size_, " ", gguf_type_name(element_));
  return out + "]";
}

}  // namespace mc
