// safetensors files: a JSON header of names, dtypes, shapes and byte ranges, and the tensors' bytes.
//
// A file is taken for hostile: the header's length, every field, range and shape is checked against the bytes
// that are there, tensors must cover the data exactly once, and what is wrong is told as an mc::Error
// (BadFormat, Truncated) with the file and the tensor. Opening copies no tensor: data are views of the mapped
// file and live as long as the SafetensorsFile. As with every mapped file, another process must not shorten
// it meanwhile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mc/array.h"
#include "mc/export.h"

namespace mc {

struct SafetensorsTensor {
  std::string name;
  std::string type;            // as the file writes it: "BF16", "F8_E4M3"
  std::optional<Dtype> dtype;  // nothing for a type that is not computed on (the 8-bit floats)
  Shape shape;                 // row-major
  std::span<const std::byte> data;
  uint64_t offset = 0;  // in the file's data section
};

class MC_API SafetensorsFile : public std::enable_shared_from_this<SafetensorsFile> {
 public:
  // Throws FileNotFound, FileRead, BadFormat, Truncated.
  static std::shared_ptr<SafetensorsFile> open(const std::string& path);
  // The same over bytes that the caller keeps alive; `name` stands for the path in messages.
  static std::shared_ptr<SafetensorsFile> from_memory(std::span<const std::byte> bytes,
                                                      std::string name = "memory");
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  // Sorted by name; names are unique.
  const std::vector<SafetensorsTensor>& tensors() const { return tensors_; }
  // Null when there is none of that name.
  const SafetensorsTensor* find(std::string_view name) const;
  // Throws BadModel when there is none of that name.
  const SafetensorsTensor& require(std::string_view name) const;
  // A tensor of this file as an array: a view of the file, or a copy where the file has it at an address that
  // is no multiple of its item size. Throws DtypeMismatch for the 8-bit floats.
  Array array(const SafetensorsTensor& tensor) const;
  // The header's "__metadata__": strings.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  SafetensorsFile() = default;
  void parse();

  std::string path_;
  std::span<const std::byte> bytes_;
  bool mapped_ = false;
  std::vector<SafetensorsTensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

// The safetensors files of a directory: model.safetensors, or the shards that model.safetensors.index.json
// lists. Each tensor must be in the shard that the index names, and in no other.
class MC_API SafetensorsSet {
 public:
  // Throws as SafetensorsFile does, FileNotFound where the directory has neither.
  static SafetensorsSet open(const std::string& directory);
  struct Entry {
    const SafetensorsTensor* tensor = nullptr;
    std::shared_ptr<SafetensorsFile> file;
  };
  // Sorted by the tensor's name.
  const std::vector<Entry>& entries() const { return entries_; }
  // Null when there is none of that name.
  const Entry* find(std::string_view name) const;
  const std::vector<std::shared_ptr<SafetensorsFile>>& files() const { return files_; }

 private:
  std::vector<std::shared_ptr<SafetensorsFile>> files_;
  std::vector<Entry> entries_;
};

// Collects tensors and writes one file. Those of larger items come first, so that each is aligned to its own;
// otherwise the order is that of `add`.
class MC_API SafetensorsWriter {
 public:
  // `data`, in row-major order, must stay alive until the file is written. A name added twice, or
  // "__metadata__", throws InvalidArgument, a shape that does not fit the data ShapeMismatch, a dtype that
  // the format does not have (complex128) DtypeMismatch.
  void add(std::string_view name, Dtype dtype, const Shape& shape, std::span<const std::byte> data);
  // The array's values are copied.
  void add(std::string_view name, const Array& array);
  void set_metadata(std::string_view key, std::string_view value);
  struct Written {
    uint64_t bytes = 0;
    std::string sha256;
  };
  // Whole or not at all. Throws FileWrite.
  Written write(const std::string& path) const;
  // The same bytes in memory.
  std::vector<std::byte> to_bytes() const;

 private:
  struct Item {
    std::string name;
    Dtype dtype;
    Shape shape;
    std::span<const std::byte> data;
  };
  std::string header(std::vector<const Item*>& order) const;
  std::vector<Item> items_;
  std::vector<std::shared_ptr<std::vector<std::byte>>> owned_;
  std::map<std::string, std::string> metadata_;
};

// "BF16" for Dtype::BF16; empty for what the format does not have.
MC_API std::string_view safetensors_type(Dtype dtype);

}  // namespace mc
