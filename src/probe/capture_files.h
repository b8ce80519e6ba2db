// A capture on the disk: its folder, the lock on it, and the manifest.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "mc/probe.h"
#include "shard_writer.h"

namespace mc::probe {

using Json = nlohmann::ordered_json;

// What a capture is of: all that must be the same for a run to go on, or for parts to be put together.
struct CaptureHead {
  Json fields;  // as the manifest has them, in its order; without "part"
  Json part;    // null, or {"index", "of", "first_prompt", "prompts"}
};
struct Manifest {
  CaptureHead head;
  bool complete = false;
  int64_t prompts = 0, tokens = 0;
  std::vector<Shard> shards;
};

std::vector<Column> columns_of(const std::vector<CaptureColumn>& columns);
// The same from a manifest. Throws BadFormat.
std::vector<Column> columns_of(const Manifest& manifest, const std::string& path);
bool has_offsets(const Manifest& manifest, const std::string& path);
// Throws FileNotFound, BadFormat for what is no manifest of ours.
Manifest read_manifest(const std::string& folder);
void write_manifest(const std::string& folder, const Manifest& manifest);
std::string manifest_path(const std::string& folder);
// Whether the shard's file has the size and the SHA-256 that the manifest says.
bool is_whole(const std::string& folder, const Shard& shard);
// Throws InvalidArgument naming the first field that differs.
void require_same(const CaptureHead& have, const CaptureHead& want, const std::string& where,
                  const std::string& next);

// The lock on an output folder, held while it lives. Makes the folder; where it exists, `resume` decides.
class OutputFolder {
 public:
  // Throws FileExists, FileWrite, FileLocked.
  OutputFolder(std::string path, bool resume);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;
  const std::string& path() const { return path_; }
  bool existed() const { return existed_; }
  // Whether there is anything in it but the lock.
  bool is_empty() const;
  // Removes the folder if it is empty.
  void discard();

 private:
  std::string path_;
  int lock_ = -1;
  bool existed_ = false;
};

}  // namespace mc::probe
