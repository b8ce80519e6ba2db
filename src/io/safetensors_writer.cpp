// The writer of safetensors files.
#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "atomic_file.h"
#include "gguf_text.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/safetensors.h"
#include "mc/sha256.h"
#include "safetensors_types.h"

namespace mc {
namespace {

constexpr SafetensorsType kTypes[] = {
    {"BOOL", 1, Dtype::Bool}, {"U8", 1, Dtype::U8},     {"I8", 1, Dtype::I8},   {"F8_E5M2", 1, {}},
    {"F8_E4M3", 1, {}},       {"F8_E8M0", 1, {}},       {"I16", 2, Dtype::I16}, {"U16", 2, Dtype::U16},
    {"F16", 2, Dtype::F16},   {"BF16", 2, Dtype::BF16}, {"I32", 4, Dtype::I32}, {"U32", 4, Dtype::U32},
    {"F32", 4, Dtype::F32},   {"F64", 8, Dtype::F64},   {"I64", 8, Dtype::I64}, {"U64", 8, Dtype::U64},
    {"C64", 8, Dtype::C64}};

std::string quoted(const std::string& s) {
  return nlohmann::json(s).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

const SafetensorsType* find_safetensors_type(std::string_view name) {
  for (const SafetensorsType& t : kTypes)
    if (t.name == name) return &t;
  return nullptr;
}

std::string_view safetensors_type(Dtype dtype) {
  for (const SafetensorsType& t : kTypes)
    if (t.dtype == dtype) return t.name;
  return {};
}

void SafetensorsWriter::add(std::string_view name, Dtype dtype, const Shape& shape,
                            std::span<const std::byte> data) {
  const std::string where = cat("tensor \"", shown(name), "\"");
  if (name.empty() || name.size() > 65535 || name == "__metadata__")
    throw Error(ErrorCode::InvalidArgument, "a tensor can't have this name", where);
  for (const Item& i : items_)
    if (i.name == name) throw Error(ErrorCode::InvalidArgument, "is added twice", where);
  if (safetensors_type(dtype).empty())
    throw Error(ErrorCode::DtypeMismatch, cat("safetensors files have no ", dtype_name(dtype)), where);
  if (static_cast<uint64_t>(shape.numel()) * itemsize(dtype) != data.size())
    throw Error(ErrorCode::ShapeMismatch,
                cat("shape ", shape.str(), " needs ", static_cast<uint64_t>(shape.numel()) * itemsize(dtype),
                    " bytes, but ", data.size(), " are given"),
                where);
  items_.push_back({std::string(name), dtype, shape, data});
}

void SafetensorsWriter::add(std::string_view name, const Array& array) {
  auto bytes = std::make_shared<std::vector<std::byte>>(array.nbytes());
  array.to_bytes(bytes->data());
  add(name, array.dtype(), array.shape(), *bytes);
  owned_.push_back(std::move(bytes));
}

void SafetensorsWriter::set_metadata(std::string_view key, std::string_view value) {
  metadata_[std::string(key)] = std::string(value);
}

std::string SafetensorsWriter::header(std::vector<const Item*>& order) const {
  for (const Item& i : items_) order.push_back(&i);
  std::stable_sort(order.begin(), order.end(),
                   [](const Item* a, const Item* b) { return itemsize(a->dtype) > itemsize(b->dtype); });
  std::string h = "{";
  if (!metadata_.empty()) {
    h += "\"__metadata__\":{";
    for (const auto& [k, v] : metadata_) h += cat(h.back() == '{' ? "" : ",", quoted(k), ":", quoted(v));
    h += "}";
  }
  uint64_t at = 0;
  for (const Item* i : order) {
    h += cat(h.size() > 1 ? "," : "", quoted(i->name), ":{\"dtype\":\"", safetensors_type(i->dtype),
             "\",\"shape\":[", join(i->shape, ","), "],\"data_offsets\":[", at, ",", at + i->data.size(),
             "]}");
    at += i->data.size();
  }
  h += "}";
  // The data begin at a multiple of 8.
  while (h.size() % 8) h += ' ';
  const uint64_t length = h.size();
  h.insert(0, reinterpret_cast<const char*>(&length), 8);
  return h;
}

SafetensorsWriter::Written SafetensorsWriter::write(const std::string& path) const {
  std::vector<const Item*> order;
  const std::string h = header(order);
  AtomicFile file(path);
  Sha256 hash;
  Written w;
  auto put = [&](std::span<const std::byte> data) {
    file.write(data.data(), data.size());
    hash.update(data);
    w.bytes += data.size();
  };
  put(std::as_bytes(std::span(h)));
  for (const Item* i : order) put(i->data);
  file.commit();
  w.sha256 = hash.hex();
  return w;
}

std::vector<std::byte> SafetensorsWriter::to_bytes() const {
  std::vector<const Item*> order;
  const std::string h = header(order);
  const auto head = std::as_bytes(std::span(h));
  std::vector<std::byte> out(head.begin(), head.end());
  for (const Item* i : order) out.insert(out.end(), i->data.begin(), i->data.end());
  return out;
}

}  // namespace mc
