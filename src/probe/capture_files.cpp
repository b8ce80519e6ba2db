#include "capture_files.h"

#include <filesystem>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/file.h"
#include "mc/sha256.h"

namespace mc::probe {
namespace {

constexpr const char* kLock = ".lock";
constexpr size_t kManifestBytes = size_t{256} << 20;

[[noreturn]] void bad(const std::string& path, std::string what) {
  throw Error(ErrorCode::BadFormat, std::move(what), path,
              "it must be a manifest that mc probe capture wrote");
}

// Throws for a field that is missing or of another kind.
template <class T>
T field(const Json& j, const char* name, const std::string& path) {
  const auto it = j.find(name);
  const bool fits = it != j.end() && (std::is_same_v<T, bool> ? it->is_boolean()
                                      : std::is_integral_v<T> ? it->is_number_unsigned()
                                                              : it->is_string());
  if (!fits) bad(path, cat("the field \"", name, "\" is missing or of a wrong kind"));
  if constexpr (std::is_same_v<T, int64_t>)
    if (it->template get<uint64_t>() > uint64_t{1} << 62)
      bad(path, cat("the field \"", name, "\" is too large"));
  return it->template get<T>();
}

bool digits(std::string_view s) {
  return !s.empty() && s.find_first_not_of("0123456789") == std::string_view::npos;
}

// What a killed run left of a manifest or a shard that it was writing: NAME.tmp-PID-N (mc/file.h). Files of
// others may lie here, too.
bool is_temporary(const std::filesystem::directory_entry& e) {
  constexpr std::string_view kMark = ".tmp-", kBegin = "capture-", kEnd = ".safetensors";
  const std::string all = e.path().filename().string();
  const size_t mark = all.rfind(kMark);
  std::error_code ec;
  if (mark == std::string::npos || e.symlink_status(ec).type() != std::filesystem::file_type::regular)
    return false;
  const std::string_view name = std::string_view(all).substr(0, mark),
                         tail = std::string_view(all).substr(mark + kMark.size());
  const size_t dash = tail.find('-');
  if (dash == std::string_view::npos || !digits(tail.substr(0, dash)) || !digits(tail.substr(dash + 1)))
    return false;
  return name == "manifest.json" ||
         (name.starts_with(kBegin) && name.ends_with(kEnd) && name.size() > kBegin.size() + kEnd.size() &&
          digits(name.substr(kBegin.size(), name.size() - kBegin.size() - kEnd.size())));
}

}  // namespace

std::vector<Column> columns_of(const std::vector<CaptureColumn>& columns) {
  std::vector<Column> out;
  for (const CaptureColumn& c : columns) out.push_back({c.tensor, c.dtype, c.row});
  return out;
}

std::vector<Column> columns_of(const Manifest& m, const std::string& path) {
  std::vector<Column> out;
  const auto list = m.head.fields.find("sites");
  if (list == m.head.fields.end() || !list->is_array() || list->empty())
    bad(path, "the field \"sites\" is missing or empty");
  for (const Json& j : *list) {
    if (!j.is_object() || !j.contains("row") || !j["row"].is_array() || j["row"].size() > 4)
      bad(path, "an entry of \"sites\" has no \"row\"");
    Column c;
    if (j.contains("name")) field<std::string>(j, "name", path);
    c.name = field<std::string>(j, "tensor", path);
    c.dtype = parse_dtype(field<std::string>(j, "dtype", path));
    int64_t numel = 1;
    for (const Json& n : j["row"]) {
      if (!n.is_number_unsigned() || n.get<uint64_t>() > uint64_t{1} << 31)
        bad(path, "a \"row\" is not a list of sizes");
      c.row.push_back(n.get<int64_t>());
      if (numel > (int64_t{1} << 40) / std::max<int64_t>(c.row.back(), 1))
        bad(path, "a \"row\" is too large");
      numel *= std::max<int64_t>(c.row.back(), 1);
    }
    out.push_back(std::move(c));
  }
  return out;
}

bool has_offsets(const Manifest& m, const std::string& path) {
  return field<std::string>(m.head.fields, "pool", path) == "none";
}

std::string manifest_path(const std::string& folder) { return folder + "/manifest.json"; }

Manifest read_manifest(const std::string& folder) {
  const std::string path = manifest_path(folder);
  if (std::error_code ec; !std::filesystem::exists(path, ec))
    throw Error(ErrorCode::FileNotFound, "this folder holds no capture: it has no manifest.json", folder,
                "name the folder that `mc probe capture --out` wrote");
  Json j = Json::parse(read_small_file(path, kManifestBytes), nullptr, false);
  if (!j.is_object()) bad(path, "this is not a JSON object");
  if (field<std::string>(j, "schema", path) != "mc.capture/1")
    bad(path, cat("the schema is ", j["schema"].dump(), ", expected \"mc.capture/1\""));
  Manifest m;
  m.complete = field<bool>(j, "complete", path);
  m.prompts = field<int64_t>(j, "prompts", path);
  m.tokens = field<int64_t>(j, "tokens", path);
  if (!j.contains("shards") || !j["shards"].is_array()) bad(path, "the field \"shards\" is missing");
  for (const Json& s : j["shards"]) {
    if (!s.is_object()) bad(path, "an entry of \"shards\" is no object");
    Shard shard;
    shard.file = field<std::string>(s, "file", path);
    if (shard.file.empty() || shard.file.find('/') != std::string::npos)
      bad(path, cat("the shard ", s["file"].dump(), " is not a file of this folder"));
    shard.first_prompt = field<int64_t>(s, "first_prompt", path);
    shard.prompts = field<int64_t>(s, "prompts", path);
    shard.tokens = field<int64_t>(s, "tokens", path);
    shard.rows = field<int64_t>(s, "rows", path);
    shard.bytes = field<uint64_t>(s, "bytes", path);
    shard.sha256 = field<std::string>(s, "sha256", path);
    m.shards.push_back(std::move(shard));
  }
  if (const auto part = j.find("part"); part != j.end()) {
    for (const char* name : {"index", "of", "first_prompt", "prompts"}) field<int64_t>(*part, name, path);
    m.head.part = *part;
  }
  for (const char* name : {"complete", "prompts", "tokens", "shards", "part"}) j.erase(name);
  m.head.fields = std::move(j);
  return m;
}

void write_manifest(const std::string& folder, const Manifest& m) {
  Json j;
  j["schema"] = "mc.capture/1";
  j["complete"] = m.complete;
  for (const auto& [key, value] : m.head.fields.items())
    if (key != "schema") j[key] = value;
  if (!m.head.part.is_null()) j["part"] = m.head.part;
  j["prompts"] = m.prompts;
  j["tokens"] = m.tokens;
  j["shards"] = Json::array();
  for (const Shard& s : m.shards)
    j["shards"].push_back({{"file", s.file},
                           {"first_prompt", s.first_prompt},
                           {"prompts", s.prompts},
                           {"tokens", s.tokens},
                           {"rows", s.rows},
                           {"bytes", s.bytes},
                           {"sha256", s.sha256}});
  const std::string text = j.dump(1) + "\n";
  const std::span<const std::byte> part = std::as_bytes(std::span(text));
  write_file(manifest_path(folder), {&part, 1});
}

bool is_whole(const std::string& folder, const Shard& shard) {
  const std::string path = folder + "/" + shard.file;
  std::error_code ec;
  if (std::filesystem::file_size(path, ec) != shard.bytes || ec) return false;
  std::ifstream in(path, std::ios::binary);
  Sha256 sum;
  std::vector<char> buffer(size_t{1} << 20);
  while (in) {
    in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    sum.update(std::as_bytes(std::span(buffer)).first(static_cast<size_t>(in.gcount())));
  }
  return in.eof() && sum.hex() == shard.sha256;
}

void require_same(const CaptureHead& have, const CaptureHead& want, const std::string& where,
                  const std::string& next) {
  auto differ = [&](const std::string& key, const Json& a, const Json& b) {
    throw Error(
        ErrorCode::InvalidArgument,
        cat("\"", key, "\" is ", a.dump().substr(0, 200), " there and ", b.dump().substr(0, 200), " here"),
        where, next);
  };
  const Json none;
  for (const auto& [key, value] : want.fields.items()) {
    const auto it = have.fields.find(key);
    if (it == have.fields.end() || *it != value) differ(key, it == have.fields.end() ? none : *it, value);
  }
  for (const auto& [key, value] : have.fields.items())
    if (!want.fields.contains(key)) differ(key, value, none);
  if (have.part != want.part) differ("part", have.part, want.part);
}

OutputFolder::OutputFolder(std::string path, bool resume) : path_(std::move(path)) {
  if (mkdir(path_.c_str(), 0777) != 0) {
    if (errno != EEXIST)
      throw Error(ErrorCode::FileWrite, std::strerror(errno), path_,
                  errno == ENOENT ? "the folder that it belongs in is not there: make it first" : "");
    existed_ = true;
    if (!resume)
      throw Error(ErrorCode::FileExists, "the output folder is already there", path_,
                  "choose another --out, remove it, or go on with what is there by --resume");
  }
  const std::string name = path_ + "/" + kLock;
  for (;;) {
    lock_ = open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock_ < 0) throw Error(ErrorCode::FileWrite, std::strerror(errno), path_);
    const bool mine = flock(lock_, LOCK_EX | LOCK_NB) == 0;
    const int why = mine ? EWOULDBLOCK : errno;
    struct stat held, named;
    // The one before may have removed the file between open and flock.
    const bool there =
        fstat(lock_, &held) == 0 && stat(name.c_str(), &named) == 0 && held.st_ino == named.st_ino;
    if (mine && there) break;
    close(lock_);
    lock_ = -1;
    if (why != EWOULDBLOCK)
      throw Error(ErrorCode::FileWrite, cat("can't lock the folder: ", std::strerror(why)), path_,
                  "write to a local file system, then copy");
    if (!mine) throw Error(ErrorCode::FileLocked, "another process is writing into this folder", path_);
  }
  std::error_code ec;
  if (existed_)
    for (const auto& e : std::filesystem::directory_iterator(path_, ec))
      if (is_temporary(e)) std::filesystem::remove(e.path(), ec);
}

OutputFolder::~OutputFolder() {
  if (lock_ < 0) return;
  unlink((path_ + "/" + kLock).c_str());
  close(lock_);
}

bool OutputFolder::is_empty() const {
  std::error_code ec;
  for (const auto& e : std::filesystem::directory_iterator(path_, ec))
    if (e.path().filename() != kLock && !is_temporary(e)) return false;
  return !ec;
}

void OutputFolder::discard() {
  if (existed_ || !is_empty()) return;
  unlink((path_ + "/" + kLock).c_str());
  rmdir(path_.c_str());
}

}  // namespace mc::probe
