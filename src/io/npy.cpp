#include "mc/npy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <set>
#include <span>

#include "inflate.h"
#include "mapped_file.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/file.h"
#include "mc/ops.h"

namespace mc {
namespace {

using Bytes = std::span<const std::byte>;

struct Mapped {
  explicit Mapped(const std::string& path) : bytes(map_file(path)) {}
  ~Mapped() { unmap_file(bytes); }
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;
  Bytes bytes;
};

constexpr char kMagic[] = {'\x93', 'N', 'U', 'M', 'P', 'Y'};  // of .npy files
struct Kind {
  const char* code;
  Dtype dtype;
};
constexpr Kind kKinds[] = {
    {"|b1", Dtype::Bool}, {"|i1", Dtype::I8},  {"|u1", Dtype::U8},  {"<i2", Dtype::I16},  {"<u2", Dtype::U16},
    {"<i4", Dtype::I32},  {"<u4", Dtype::U32}, {"<i8", Dtype::I64}, {"<u8", Dtype::U64},  {"<f2", Dtype::F16},
    {"<f4", Dtype::F32},  {"<f8", Dtype::F64}, {"<c8", Dtype::C64}, {"<c16", Dtype::C128}};

uint32_t le(Bytes b, size_t at, int n) {
  uint32_t v = 0;
  for (int i = 0; i < n; ++i) v |= std::to_integer<uint32_t>(b[at + static_cast<size_t>(i)]) << (8 * i);
  return v;
}

// The header is a Python dictionary of three known keys, written in any order.
class Header {
 public:
  Header(std::string_view text, const std::string& where) : text_(text), where_(where) {
    expect('{');
    for (;;) {
      skip();
      if (peek() == '}') break;
      const std::string_view key = quoted();
      expect(':');
      if (key == "descr") {
        skip();
        if (peek() != '\'' && peek() != '"') bad("its elements are records: save plain numbers");
        descr = quoted();
      } else if (key == "fortran_order") {
        fortran = word();
      } else if (key == "shape") {
        dims();
      } else {
        bad("its header has a key that is not of the format");
      }
      skip();
      if (peek() == ',') ++at_;
    }
    if (descr.empty() || !fortran || !shape) bad("its header lacks a key");
  }
  std::string_view descr;
  std::optional<bool> fortran;
  std::optional<std::vector<int64_t>> shape;

 private:
  [[noreturn]] void bad(const std::string& what) const {
    throw Error(ErrorCode::BadFormat, what, where_, "write it with np.save");
  }
  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  char peek() const {
    if (at_ >= text_.size()) bad("its header ends too soon");
    return text_[at_];
  }
  void expect(char c) {
    skip();
    if (peek() != c) bad("its header is no dictionary");
    ++at_;
  }
  std::string_view quoted() {
    skip();
    const char q = peek();
    if (q != '\'' && q != '"') bad("its header is no dictionary");
    const size_t end = text_.find(q, at_ + 1);
    if (end == std::string_view::npos) bad("its header ends too soon");
    const std::string_view s = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return s;
  }
  bool word() {
    skip();
    for (const auto& [name, value] : {std::pair<std::string_view, bool>{"True", true}, {"False", false}})
      if (text_.substr(at_, name.size()) == name) {
        at_ += name.size();
        return value;
      }
    bad("fortran_order is neither True nor False");
  }
  void dims() {
    std::vector<int64_t> out;
    expect('(');
    for (;;) {
      skip();
      if (peek() == ')') break;
      int64_t n = 0;
      const auto r = std::from_chars(text_.data() + at_, text_.data() + text_.size(), n);
      if (r.ec != std::errc() || n < 0) bad("its shape is none");
      at_ = static_cast<size_t>(r.ptr - text_.data());
      out.push_back(n);
      if (out.size() > kMaxRank) bad(cat("it has more than ", kMaxRank, " axes"));
      skip();
      if (peek() == ',') ++at_;
    }
    ++at_;
    shape = std::move(out);
  }
  std::string_view text_;
  const std::string& where_;
  size_t at_ = 0;
};

Array parse(Bytes file, const std::string& where) {
  auto bad = [&](const std::string& what) {
    throw Error(ErrorCode::BadFormat, what, where, "write it with np.save");
  };
  if (file.size() < 10 || std::memcmp(file.data(), kMagic, 6) != 0) bad("this is no .npy file");
  const uint32_t version = le(file, 6, 1);
  if (version < 1 || version > 3) bad(cat("version ", version, " of the format is not read"));
  const size_t begin = version == 1 ? 10 : 12;
  if (file.size() < begin) bad("it ends within its header");
  const size_t length = version == 1 ? le(file, 8, 2) : le(file, 8, 4);
  if (length > file.size() - begin)
    throw Error(ErrorCode::Truncated, "the file ends within its header", where);
  const Header h({reinterpret_cast<const char*>(file.data()) + begin, length}, where);
  const Kind* kind = std::find_if(std::begin(kKinds), std::end(kKinds), [&](const Kind& k) {
    return h.descr == k.code || (k.code[0] == '|' && h.descr.substr(1) == std::string_view(k.code).substr(1));
  });
  if (kind == std::end(kKinds))
    throw Error(ErrorCode::DtypeMismatch, cat("elements of the kind ", h.descr, " are not read"), where,
                "save float32, float64, float16, complex, integers or bool, little-endian");
  const Bytes data = file.subspan(begin + length);
  size_t count = 1;
  for (int64_t n : *h.shape) {
    if (n > 0 && count > data.size() / static_cast<size_t>(n) + 1)
      count = SIZE_MAX / 32;  // too many, told below
    else
      count *= static_cast<size_t>(n);
  }
  if (count > data.size() || count * itemsize(kind->dtype) > data.size())
    throw Error(ErrorCode::Truncated,
                cat("the shape needs more bytes than the ", data.size(), " that follow"), where);
  if (count * itemsize(kind->dtype) != data.size()) bad("there are bytes behind the array");
  if (!*h.fortran || h.shape->size() < 2) return Array::from_bytes(data.data(), Shape(*h.shape), kind->dtype);
  std::vector<int64_t> reversed(h.shape->rbegin(), h.shape->rend()), axes;
  for (size_t i = reversed.size(); i-- > 0;) axes.push_back(static_cast<int64_t>(i));
  return transpose(Array::from_bytes(data.data(), Shape(reversed), kind->dtype), Shape(axes));
}

std::vector<std::byte> npy_bytes(const Array& given) {
  const Array a = given.dtype() == Dtype::BF16 ? astype(given, Dtype::F32) : given;
  const Kind* kind =
      std::find_if(std::begin(kKinds), std::end(kKinds), [&](const Kind& k) { return k.dtype == a.dtype(); });
  std::string shape;
  for (int64_t n : a.shape()) shape += cat(n, a.ndim() == 1 ? "," : ", ");
  if (a.ndim() > 1) shape.resize(shape.size() - 2);
  std::string header = cat("{'descr': '", kind->code, "', 'fortran_order': False, 'shape': (", shape, "), }");
  header += std::string(63 - (10 + header.size()) % 64, ' ') + "\n";
  std::vector<std::byte> out(10 + header.size() + a.nbytes());
  std::memcpy(out.data(), kMagic, 6);
  out[6] = std::byte{1};
  out[8] = static_cast<std::byte>(header.size() & 255);
  out[9] = static_cast<std::byte>(header.size() >> 8);
  std::memcpy(out.data() + 10, header.data(), header.size());
  if (a.nbytes()) a.to_bytes(out.data() + 10 + header.size());
  return out;
}

// Eight bytes a step: table k tells what a byte does k bytes later.
uint32_t crc32(Bytes data) {
  using Tables = std::array<std::array<uint32_t, 256>, 8>;
  static const Tables tables = [] {
    Tables t{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int k = 0; k < 8; ++k) c = c & 1 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
      t[0][i] = c;
    }
    for (size_t k = 1; k < 8; ++k)
      for (uint32_t i = 0; i < 256; ++i) t[k][i] = t[0][t[k - 1][i] & 255] ^ (t[k - 1][i] >> 8);
    return t;
  }();
  uint32_t c = ~0u;
  size_t i = 0;
  for (; i + 8 <= data.size(); i += 8) {
    uint32_t low = c ^ le(data, i, 4), high = le(data, i + 4, 4), next = 0;
    for (size_t k = 0; k < 4; ++k) {
      next ^= tables[7 - k][low & 255] ^ tables[3 - k][high & 255];
      low >>= 8;
      high >>= 8;
    }
    c = next;
  }
  for (; i < data.size(); ++i) c = tables[0][(c ^ std::to_integer<uint32_t>(data[i])) & 255] ^ (c >> 8);
  return ~c;
}

constexpr uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kDirectoryEnd = 0x06054b50,
                   kEnd64 = 0x06064b50, kLocator64 = 0x07064b50;

// A 64-bit value of zip64's extra field, where the 32-bit one says so.
uint64_t wide(Bytes extra, uint32_t narrow, size_t& at, const std::string& where) {
  if (narrow != 0xFFFFFFFF) return narrow;
  if (at + 8 > extra.size()) throw Error(ErrorCode::BadFormat, "the archive's directory is damaged", where);
  const uint64_t v = le(extra, at, 4) | uint64_t{le(extra, at + 4, 4)} << 32;
  at += 8;
  return v;
}

}  // namespace

Array read_npy(const std::string& path) {
  const Mapped file(path);
  return parse(file.bytes, path).eval();
}

void write_npy(const std::string& path, const Array& array) {
  const std::vector<std::byte> all = npy_bytes(array);
  const Bytes part = all;
  write_file(path, {&part, 1});
}

std::vector<std::pair<std::string, Array>> read_npz(const std::string& path) {
  const Mapped file(path);
  const Bytes b = file.bytes;
  auto bad = [&](const std::string& what) {
    throw Error(ErrorCode::BadFormat, what, path, "write it with np.savez");
  };
  if (b.size() < 22) bad("this is no .npz file");
  size_t end = b.size() - 22;
  while (le(b, end, 4) != kDirectoryEnd) {
    if (end == 0 || b.size() - end > 22 + 65535) bad("this is no .npz file");
    --end;
  }
  uint64_t entries = le(b, end + 10, 2), directory = le(b, end + 16, 4);
  if (entries == 0xFFFF || directory == 0xFFFFFFFF) {
    // Zip64: a locator stands before this record, and tells where a wider one is.
    const auto le8 = [&](uint64_t at) { return le(b, at, 4) | uint64_t{le(b, at + 4, 4)} << 32; };
    if (end < 20 + 56 || le(b, end - 20, 4) != kLocator64) bad("the archive's directory is damaged");
    const uint64_t record = le8(end - 20 + 8);
    if (record > end - 20 - 56 || le(b, record, 4) != kEnd64) bad("the archive's directory is damaged");
    entries = le8(record + 32);
    directory = le8(record + 48);
    end = record;
  }
  std::vector<std::pair<std::string, Array>> out;
  std::set<std::string> names;
  uint64_t members = 0;  // bytes
  size_t at = directory;
  for (size_t i = 0; i < entries; ++i) {
    if (at > end || end - at < 46 || le(b, at, 4) != kCentral) bad("the archive's directory is damaged");
    const uint32_t method = le(b, at + 10, 2), crc = le(b, at + 16, 4);
    const size_t name_size = le(b, at + 28, 2), extra_size = le(b, at + 30, 2), comment = le(b, at + 32, 2);
    if (end - at - 46 < name_size + extra_size + comment) bad("the archive's directory is damaged");
    std::string name(reinterpret_cast<const char*>(b.data()) + at + 46, name_size);
    // Fields of the extra part: id, size, data; zip64's is 1.
    Bytes zip64;
    for (size_t e = at + 46 + name_size, last = e + extra_size; e + 4 <= last;) {
      const size_t size = le(b, e + 2, 2);
      if (size > last - e - 4) break;
      if (le(b, e, 2) == 1) zip64 = b.subspan(e + 4, size);
      e += 4 + size;
    }
    size_t used = 0;
    const uint64_t raw = wide(zip64, le(b, at + 24, 4), used, path),
                   packed = wide(zip64, le(b, at + 20, 4), used, path),
                   local = wide(zip64, le(b, at + 42, 4), used, path);
    if (method != 0 && method != 8)
      bad(cat("the member ", name, " is compressed in a way that is not read (", method, ")"));
    if ((method == 0 && raw != packed) || local > end || end - local < 30 || le(b, local, 4) != kLocal)
      bad("the archive's directory is damaged");
    const uint64_t data = local + 30 + le(b, local + 26, 2) + le(b, local + 28, 2);
    if (data > end || packed > end - data)
      throw Error(ErrorCode::Truncated, cat("the member ", name, " reaches past the file"), path);
    // Members that share bytes would unpack to many times what a file can hold.
    members += packed;
    if (members > b.size()) bad("the archive's members overlap");
    const std::vector<std::byte> unpacked =
        method == 8 ? inflate(b.subspan(data, packed), raw, cat(path, ":", name)) : std::vector<std::byte>();
    const Bytes member = method == 8 ? Bytes(unpacked) : b.subspan(data, packed);
    if (crc32(member) != crc) bad(cat("the member ", name, " has another checksum: the file is damaged"));
    if (name.ends_with(".npy")) name.resize(name.size() - 4);
    if (!names.insert(name).second) bad(cat("the member ", name, " comes twice"));
    out.emplace_back(name, parse(member, cat(path, ":", name)).eval());
    at += 46 + name_size + extra_size + comment;
  }
  return out;
}

void write_npz(const std::string& path, const std::vector<std::pair<std::string, Array>>& arrays) {
  std::vector<std::byte> all, directory;
  auto put = [](std::vector<std::byte>& to, uint64_t v, int n) {
    for (int i = 0; i < n; ++i) to.push_back(static_cast<std::byte>(v >> (8 * i) & 255));
  };
  // Zip64, which counts further, is not written.
  constexpr size_t kMostMembers = 0xFFFE;
  if (arrays.size() > kMostMembers)
    throw Error(ErrorCode::InvalidArgument,
                cat("an archive of ", arrays.size(), " arrays is not written; at most ", kMostMembers), path,
                "write several archives");
  std::set<std::string_view> names;
  for (const auto& [name, array] : arrays) {
    if (!names.insert(name).second)
      throw Error(ErrorCode::InvalidArgument, cat("the array ", name, " comes twice"), path,
                  "give each array a name of its own");
    const std::string member = name + ".npy";
    constexpr int kUtf8 = 0x800;  // without it a reader takes the name for code page 437
    const bool ascii =
        std::all_of(name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) < 128; });
    const std::vector<std::byte> data = npy_bytes(array);
    const size_t local = all.size();
    if (member.size() > 60000 || data.size() >= 0xFFFFFFFF || local + data.size() >= 0xFFFFF000)
      throw Error(ErrorCode::InvalidArgument, "an archive of 4 GiB or more is not written", path,
                  "write .npy files");
    const uint32_t crc = crc32(data);
    auto common = [&](std::vector<std::byte>& to) {  // version, flags, method, time, date, sums
      put(to, 20, 2), put(to, ascii ? 0 : kUtf8, 2), put(to, 0, 2), put(to, 0, 2), put(to, 0x21, 2);
      put(to, crc, 4), put(to, data.size(), 4), put(to, data.size(), 4);
      put(to, member.size(), 2), put(to, 0, 2);
    };
    auto text = [&](std::vector<std::byte>& to) {
      for (char c : member) to.push_back(static_cast<std::byte>(c));
    };
    put(all, kLocal, 4);
    common(all);
    text(all);
    all.insert(all.end(), data.begin(), data.end());
    put(directory, kCentral, 4), put(directory, 20, 2);
    common(directory);
    put(directory, 0, 2), put(directory, 0, 2), put(directory, 0, 2), put(directory, 0, 4);
    put(directory, local, 4);
    text(directory);
  }
  const size_t start = all.size();
  all.insert(all.end(), directory.begin(), directory.end());
  put(all, kDirectoryEnd, 4), put(all, 0, 4), put(all, arrays.size(), 2), put(all, arrays.size(), 2);
  put(all, directory.size(), 4), put(all, start, 4), put(all, 0, 2);
  const Bytes part = all;
  write_file(path, {&part, 1});
}

}  // namespace mc
