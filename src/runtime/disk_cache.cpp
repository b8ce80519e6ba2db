#include "runtime/disk_cache.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "mc/cache.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/sha256.h"

namespace mc {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "mc cache 1\n";
constexpr const char* kCounts = "counts";  // one letter for each look-up, so that processes need no lock

std::string sum_of(std::string_view data) { return sha256_hex(std::as_bytes(std::span(data))); }

}  // namespace

std::string cache_folder() {
  fs::path root;
  if (const char* v = std::getenv("MODELCYPHER_CACHE"); v && *v)
    root = v;
  else if (const char* x = std::getenv("XDG_CACHE_HOME"); x && *x)
    root = fs::path(x) / "modelcypher";
  else if (const char* h = std::getenv("HOME"); h && *h)
    root = fs::path(h) / ".cache" / "modelcypher";
  else
    return {};
  return (root / "v1").string();
}

std::vector<CacheKind> cache_list() {
  std::vector<CacheKind> out;
  const std::string root = cache_folder();
  std::error_code ignored;
  if (root.empty()) return out;
  for (const auto& folder : fs::directory_iterator(root, ignored)) {
    if (!folder.is_directory(ignored)) continue;
    CacheKind k{folder.path().filename().string(), folder.path().string()};
    for (const auto& f : fs::recursive_directory_iterator(folder.path(), ignored))
      if (f.path().filename() == kCounts) {
        std::ifstream in(f.path(), std::ios::binary);
        for (char c = 0; in.get(c);) ++(c == 'h' ? k.hits : k.misses);
      } else if (f.is_regular_file(ignored)) {
        ++k.files;
        k.bytes += static_cast<size_t>(f.file_size(ignored));
      }
    out.push_back(std::move(k));
  }
  std::sort(out.begin(), out.end(), [](const CacheKind& a, const CacheKind& b) { return a.name < b.name; });
  return out;
}

std::vector<CacheKind> cache_remove(std::string_view kind) {
  std::vector<CacheKind> out;
  std::string have;
  for (CacheKind& k : cache_list()) {
    have += cat(have.empty() ? "" : ", ", k.name);
    if (kind.empty() || kind == k.name) out.push_back(std::move(k));
  }
  if (out.empty() && !kind.empty())
    throw Error(ErrorCode::InvalidArgument, cat("the cache has no kind '", kind, "'"), "cache",
                have.empty() ? "there is nothing to clear" : cat("it has ", have));
  for (const CacheKind& k : out) {
    std::error_code why;
    // Another process may write there meanwhile: what is new then stays.
    for (int attempt = 0; attempt < 4; ++attempt) {
      fs::remove_all(k.folder, why);
      if (why != std::errc::directory_not_empty) break;
    }
    if (why && why != std::errc::directory_not_empty)
      throw Error(ErrorCode::FileWrite, cat("can't be removed: ", why.message()), k.folder,
                  "check the folder's permissions");
  }
  return out;
}

std::string DiskCache::file(const std::string& key) const {
  const std::string root = cache_folder();
  return root.empty() ? std::string() : (fs::path(root) / kind_ / key).string();
}

std::optional<std::string> DiskCache::read(const std::string& key) {
  const std::string path = file(key);
  std::error_code ignored;
  std::ifstream in(path, std::ios::binary);
  if (path.empty() || !in) {
    count('m');
    return std::nullopt;
  }
  std::stringstream all;
  all << in.rdbuf();
  std::string text = std::move(all).str();
  const size_t head = kMagic.size() + 65;
  if (text.size() < head || !text.starts_with(kMagic) ||
      std::string_view(text).substr(kMagic.size(), 64) != sum_of(std::string_view(text).substr(head))) {
    fs::remove(path, ignored);
    count('m');
    return std::nullopt;
  }
  fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);  // used now
  count('h');
  return text.substr(head);
}

void DiskCache::drop(const std::string& key) {
  std::error_code ignored;
  fs::remove(file(key), ignored);
}

void DiskCache::count(char what) const {
  const std::string path = file(kCounts);
  if (path.empty()) return;
  std::error_code ignored;
  fs::create_directories(fs::path(path).parent_path(), ignored);
  std::ofstream(path, std::ios::binary | std::ios::app) << what;
}

void DiskCache::write(const std::string& key, const std::string& data) {
  const std::string path = file(key);
  if (path.empty() || data.size() > limit_) return;
  std::error_code ignored;
  fs::create_directories(fs::path(path).parent_path(), ignored);
  static std::atomic<unsigned> serial{0};
  const std::string part = cat(path, ".", getpid(), ".", serial++, ".part");
  {
    std::ofstream out(part, std::ios::binary);
    out << kMagic << sum_of(data) << '\n' << data;
    out.close();
    if (!out) {
      fs::remove(part, ignored);
      return;
    }
  }
  fs::rename(part, path, ignored);
  if (ignored) fs::remove(part, ignored);
  trim();
}

// Other processes may write and remove files at the same time: what is gone is no error.
void DiskCache::trim() const {
  std::error_code ignored;
  std::multimap<fs::file_time_type, std::pair<fs::path, size_t>> by_age;
  size_t total = 0;
  for (const auto& f : fs::directory_iterator(fs::path(cache_folder()) / kind_, ignored)) {
    std::error_code gone;
    const size_t bytes = static_cast<size_t>(f.file_size(gone));
    if (gone || f.path().filename() == kCounts) continue;
    total += bytes;
    by_age.emplace(f.last_write_time(gone), std::pair(f.path(), bytes));
  }
  for (const auto& [age, entry] : by_age) {
    if (total <= limit_) return;
    fs::remove(entry.first, ignored);
    total -= entry.second;
  }
}

}  // namespace mc
