// GGUF model files (versions 2 and 3, little-endian), mapped into memory, and a small writer of them.
//
// A file is taken for hostile: every count, length, type, offset and name is checked against the file's size
// before it is used, and what is wrong is told as an mc::Error (BadFormat, Truncated) with the file and the
// place. Opening copies no string and no tensor; all views point into the mapping and live as long as the
// GgufFile. The file must not be shortened by another process while it is mapped: reading a page that no
// longer exists kills the process (SIGBUS), as with every mapped file. Replace model files by rename, as
// GgufWriter does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mc/export.h"
#include "mc/shape.h"

namespace mc {

// A tensor's storage type; the numbers are the file's. A file may hold numbers that are not listed here.
enum class GgmlType : uint32_t {
  F32 = 0,
  F16 = 1,
  Q4_0 = 2,
  Q4_1 = 3,
  Q5_0 = 6,
  Q5_1 = 7,
  Q8_0 = 8,
  Q8_1 = 9,
  Q2_K = 10,
  Q3_K = 11,
  Q4_K = 12,
  Q5_K = 13,
  Q6_K = 14,
  Q8_K = 15,
  IQ2_XXS = 16,
  IQ2_XS = 17,
  IQ3_XXS = 18,
  IQ1_S = 19,
  IQ4_NL = 20,
  IQ3_S = 21,
  IQ2_S = 22,
  IQ4_XS = 23,
  I8 = 24,
  I16 = 25,
  I32 = 26,
  I64 = 27,
  F64 = 28,
  IQ1_M = 29,
  BF16 = 30,
  TQ1_0 = 34,
  TQ2_0 = 35,
  MXFP4 = 39,
  NVFP4 = 40,
  Q1_0 = 41
};
struct GgmlTypeInfo {
  std::string_view name;
  uint32_t block_elements, block_bytes;
  bool computable;  // ModelCypher can compute on it: F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K Q6_K
};
// Null for a number that is not known.
MC_API const GgmlTypeInfo* ggml_type_info(GgmlType type);
// "Q4_K", or "type 77" for one that is not known.
MC_API std::string ggml_type_name(GgmlType type);

// Types of metadata values; the numbers are the file's.
enum class GgufType : uint32_t { U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64 };
// "u8", "string", "array" …
MC_API std::string_view gguf_type_name(GgufType type);

// One metadata value: a view into the file. The accessors give nothing when the type is another one.
class MC_API GgufValue {
 public:
  GgufType type() const { return type_; }
  // Any integer type (bool is none), where the value fits.
  std::optional<uint64_t> as_u64() const;
  std::optional<int64_t> as_i64() const;
  // f32 or f64.
  std::optional<double> as_f64() const;
  std::optional<bool> as_bool() const;
  std::optional<std::string_view> as_string() const;

  // Of arrays: the elements' type and number. A scalar has size 1.
  GgufType element_type() const { return element_; }
  uint64_t size() const { return size_; }
  // Raw little-endian elements of an array of numbers or bools, or of a scalar: not aligned in memory.
  std::span<const std::byte> bytes() const { return bytes_; }
  // Elements of an array (one pass over it; empty vectors for arrays of another type): integers of any type
  // that fit int64, floats of either type, strings as views into the file, inner arrays.
  std::vector<int64_t> integers() const;
  std::vector<float> floats() const;
  std::vector<std::string_view> strings() const;
  std::vector<GgufValue> arrays() const;
  // For people: "32", "[1, 2, 3, … 49152 i32]", strings shortened and escaped.
  std::string str(size_t max_elements = 8) const;

 private:
  friend class GgufParser;
  GgufValue() = default;
  GgufType type_ = GgufType::U8, element_ = GgufType::U8;
  uint64_t size_ = 1;
  std::span<const std::byte> bytes_;
};

// What a tensor of MLX's affine quantization consists of besides its packed codes: w = scale·q + bias in
// groups of `group` columns. Scales and biases are (rows, columns / group) F32, F16 or BF16.
struct AffineTensor {
  int bits = 0, group = 0;
  GgmlType type = GgmlType::F16;
  std::span<const std::byte> scales, biases;
};

struct GgufTensor {
  std::string_view name;
  GgmlType type = GgmlType::F32;
  Shape ggml_dims;      // the file's order: the contiguous dimension first; at most 4
  Shape shape;          // row-major: the contiguous dimension last
  uint64_t offset = 0;  // from the start of the data section, a multiple of the file's alignment (at least 8)
  // The stored bytes. Empty where the type's size is not known.
  std::span<const std::byte> data;
  // Only of MLX-quantized directories: `data` are uint32 codes then, and `type` is I32.
  const AffineTensor* affine = nullptr;
};

class MC_API GgufFile : public std::enable_shared_from_this<GgufFile> {
 public:
  // Throws FileNotFound, FileRead, BadFormat or Truncated.
  static std::shared_ptr<GgufFile> open(const std::string& path);
  // The same over bytes that the caller keeps alive; `name` stands for the path in messages. Tensor data is
  // aligned only as far as `bytes` is.
  static std::shared_ptr<GgufFile> from_memory(std::span<const std::byte> bytes, std::string name = "memory");
  // A model of another format in GGUF's terms: `metadata` is a whole GGUF file without tensors, `parts` what
  // the model's bytes are (for its hash). `keep` owns all that the tensors point to, their names too; their
  // memory and that of `parts` must be mappings of files, whose pages may be dropped at any time. Throws
  // BadModel for a name that is there twice.
  static std::shared_ptr<GgufFile> assemble(std::string path, std::vector<std::byte> metadata,
                                            std::vector<GgufTensor> tensors,
                                            std::vector<std::span<const std::byte>> parts,
                                            std::shared_ptr<const void> keep);
  ~GgufFile();
  GgufFile(const GgufFile&) = delete;
  GgufFile& operator=(const GgufFile&) = delete;

  const std::string& path() const { return path_; }
  uint32_t version() const { return version_; }
  uint32_t alignment() const { return alignment_; }
  uint64_t file_bytes() const {
    uint64_t n = parts_.empty() ? bytes_.size() : 0;
    for (std::span<const std::byte> p : parts_) n += p.size();
    return n;
  }
  // The whole file.
  std::span<const std::byte> bytes() const { return bytes_; }

  // Of all bytes of the model: of the file, or of a directory's files one after another. Computed at each
  // call.
  std::string content_sha256() const;
  // Whether this is a directory of another format in GGUF's terms.
  bool assembled() const { return keep_ != nullptr; }

  // Keys and values in the file's order.
  const std::vector<std::pair<std::string_view, GgufValue>>& metadata() const { return metadata_; }
  // Null when the key is not there.
  const GgufValue* find(std::string_view key) const;
  // With a default: the default where the key is missing; a key of another type or range throws BadModel.
  uint32_t u32(std::string_view key, uint32_t fallback) const;
  uint64_t u64(std::string_view key, uint64_t fallback) const;
  float f32(std::string_view key, float fallback) const;
  bool boolean(std::string_view key, bool fallback) const;
  std::string_view string(std::string_view key, std::string_view fallback) const;
  // Required: a missing key throws BadModel with the key and the file.
  uint32_t require_u32(std::string_view key) const;
  uint64_t require_u64(std::string_view key) const;
  float require_f32(std::string_view key) const;
  bool require_bool(std::string_view key) const;
  std::string_view require_string(std::string_view key) const;
  // An array with elements of that type (String, or any other exactly).
  const GgufValue& require_array(std::string_view key, GgufType element) const;

  // In the file's order. Names are unique.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  // Null when there is none of that name.
  const GgufTensor* find_tensor(std::string_view name) const;
  // Throws BadModel when there is none of that name, or when its type can't be computed on.
  const GgufTensor& require_tensor(std::string_view name) const;
  // Throws BadModel listing every type in the file that can't be computed on, and how many tensors have it.
  void require_computable() const;

 private:
  friend class GgufParser;
  GgufFile() = default;
  template <class T, class Get>
  std::optional<T> typed(std::string_view key, std::string_view wanted, Get get) const;
  [[noreturn]] void missing(std::string_view key) const;

  std::string path_;
  std::span<const std::byte> bytes_;
  bool mapped_ = false;
  uint32_t version_ = 0, alignment_ = 32;
  std::vector<std::pair<std::string_view, GgufValue>> metadata_;
  std::vector<GgufTensor> tensors_;
  std::vector<uint32_t> keys_sorted_, names_sorted_;
  std::vector<std::byte> owned_;
  std::vector<std::span<const std::byte>> parts_;
  std::shared_ptr<const void> keep_;
};

// Collects metadata and tensors and writes a version 3 file. Setting a key or adding a name twice throws
// InvalidArgument.
class MC_API GgufWriter {
 public:
  explicit GgufWriter(uint32_t alignment = 32);  // a power of two, at least 8
  ~GgufWriter();
  GgufWriter(const GgufWriter&) = delete;
  GgufWriter& operator=(const GgufWriter&) = delete;

  void set_u8(std::string_view key, uint8_t v);
  void set_i8(std::string_view key, int8_t v);
  void set_u16(std::string_view key, uint16_t v);
  void set_i16(std::string_view key, int16_t v);
  void set_u32(std::string_view key, uint32_t v);
  void set_i32(std::string_view key, int32_t v);
  void set_u64(std::string_view key, uint64_t v);
  void set_i64(std::string_view key, int64_t v);
  void set_f32(std::string_view key, float v);
  void set_f64(std::string_view key, double v);
  void set_bool(std::string_view key, bool v);
  void set_string(std::string_view key, std::string_view v);
  void set_u8s(std::string_view key, std::span<const uint8_t> v);
  void set_u32s(std::string_view key, std::span<const uint32_t> v);
  void set_i32s(std::string_view key, std::span<const int32_t> v);
  void set_f32s(std::string_view key, std::span<const float> v);
  void set_strings(std::string_view key, std::span<const std::string_view> v);
  void set_strings(std::string_view key, std::span<const std::string> v);
  // Any value as it was read from another file.
  void set(std::string_view key, const GgufValue& value);

  // `dims` in the file's order (contiguous first), at most 4. `data` must have exactly the type's bytes for
  // them and must stay alive until the file is written; it is not copied.
  void add_tensor(std::string_view name, GgmlType type, std::span<const int64_t> dims,
                  std::span<const std::byte> data);

  // Writes to a temporary file beside `path` and renames it, so that `path` is whole or untouched. Throws
  // FileWrite.
  void write(const std::string& path) const;
  // The same bytes in memory.
  std::vector<std::byte> to_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> s_;
};

}  // namespace mc
