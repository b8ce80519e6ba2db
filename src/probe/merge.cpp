#include <algorithm>
#include <cstdio>
#include <optional>

#include "capture_files.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/interrupt.h"
#include "mc/probe.h"
#include "mc/safetensors.h"

namespace mc {
namespace {

struct Part {
  std::string folder;
  probe::Manifest manifest;
  int64_t index() const { return manifest.head.part["index"].get<int64_t>(); }
};

// One shard's prompts to the writer, in order.
void pass_on(const Part& part, const probe::Shard& shard, const std::vector<probe::Column>& columns,
             bool offsets, probe::ShardWriter& writer) {
  const std::string path = part.folder + "/" + shard.file;
  auto bad = [&](std::string what) {
    throw Error(ErrorCode::BadFormat, std::move(what), path, "capture this part again");
  };
  if (!probe::is_whole(part.folder, shard)) bad("the file is not as the manifest says");
  const auto file = SafetensorsFile::open(path);
  std::vector<int64_t> starts;
  if (offsets) {
    const SafetensorsTensor& t = file->require("offsets");
    if (t.dtype != Dtype::I64 || t.shape != Shape{shard.prompts + 1})
      bad("its offsets do not fit the manifest");
    starts = file->array(t).to_vector<int64_t>();
    for (size_t i = 0; i + 1 < starts.size(); ++i)
      if (starts[i] > starts[i + 1]) bad("its offsets run backwards");
    if (starts.front() != 0 || starts.back() != shard.rows) bad("its offsets do not cover the rows");
  } else {
    if (shard.rows != shard.prompts) bad("it has not a row a prompt");
    for (int64_t i = 0; i <= shard.rows; ++i) starts.push_back(i);
  }
  const SafetensorsTensor& lengths = file->require("tokens");
  if (lengths.dtype != Dtype::I64 || lengths.shape != Shape{shard.prompts})
    bad("its tokens do not fit the manifest");
  const std::vector<int64_t> tokens = file->array(lengths).to_vector<int64_t>();
  std::vector<const std::byte*> data;
  for (const probe::Column& c : columns) {
    const SafetensorsTensor& t = file->require(c.name);
    Shape shape{shard.rows};
    for (int64_t n : c.row) shape.push_back(n);
    if (t.dtype != c.dtype || t.shape != shape) bad(cat(c.name, " has not the shape that the manifest says"));
    data.push_back(t.data.data());
  }
  for (int64_t p = 0; p < shard.prompts; ++p) {
    const int64_t rows = starts[static_cast<size_t>(p) + 1] - starts[static_cast<size_t>(p)];
    writer.add(data, rows, tokens[static_cast<size_t>(p)]);
    for (size_t i = 0; i < data.size(); ++i) data[i] += static_cast<size_t>(rows) * columns[i].row_bytes();
  }
}

}  // namespace

CaptureSummary merge_captures(const std::vector<std::string>& folders, const std::string& out) {
  if (folders.empty())
    throw Error(ErrorCode::InvalidArgument, "there are no parts", "merge", "name the folders of all parts");
  std::vector<Part> parts;
  for (const std::string& f : folders) {
    parts.push_back({f, probe::read_manifest(f)});
    const probe::Manifest& m = parts.back().manifest;
    if (m.head.part.is_null())
      throw Error(ErrorCode::InvalidArgument, "this capture is whole, not a part", f);
    if (!m.complete)
      throw Error(
          ErrorCode::InvalidArgument,
          cat("this part is not finished: ", m.prompts, " of ", m.head.part["prompts"].dump(), " prompts"), f,
          "run its capture again with --resume");
  }
  std::stable_sort(parts.begin(), parts.end(),
                   [](const Part& a, const Part& b) { return a.index() < b.index(); });
  const int64_t of = parts[0].manifest.head.part["of"].get<int64_t>();
  int64_t next = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const probe::CaptureHead& head = parts[i].manifest.head;
    probe::CaptureHead want = parts[0].manifest.head;
    want.part = head.part;
    probe::require_same(head, want, parts[i].folder, "merge parts of one capture only");
    if (head.part["of"] != parts[0].manifest.head.part["of"] || parts[i].index() != static_cast<int64_t>(i) ||
        head.part["first_prompt"].get<int64_t>() != next)
      throw Error(ErrorCode::InvalidArgument, cat("part ", i + 1, " of ", of, " is missing or comes twice"),
                  parts[i].folder, "name each part once");
    next += head.part["prompts"].get<int64_t>();
    if (parts[i].manifest.prompts != head.part["prompts"].get<int64_t>())
      throw Error(ErrorCode::BadFormat, "the manifest's prompts do not add up", parts[i].folder);
  }
  if (static_cast<int64_t>(parts.size()) != of)
    throw Error(ErrorCode::InvalidArgument, cat("there are ", parts.size(), " of ", of, " parts"), "merge",
                "name the folders of all parts");

  probe::Manifest m;
  m.head.fields = parts[0].manifest.head.fields;
  const std::vector<probe::Column> columns =
      probe::columns_of(parts[0].manifest, probe::manifest_path(folders[0]));
  const auto bytes = m.head.fields.find("shard_bytes");
  if (bytes == m.head.fields.end() || !bytes->is_number_unsigned())
    throw Error(ErrorCode::BadFormat, "the field \"shard_bytes\" is missing",
                probe::manifest_path(folders[0]));
  const bool offsets = probe::has_offsets(m, probe::manifest_path(folders[0]));
  probe::OutputFolder folder(out, false);
  probe::ShardWriter writer(out, columns, offsets, bytes->get<size_t>());
  try {
    for (const Part& p : parts)
      for (const probe::Shard& s : p.manifest.shards) {
        check_interrupt();
        pass_on(p, s, columns, offsets, writer);
        m.tokens += s.tokens;
        m.prompts += s.prompts;
      }
    writer.flush();
    m.shards = writer.shards();
    m.complete = true;
    probe::write_manifest(out, m);
  } catch (...) {
    // Half a merge can't be gone on with: nothing of it stays in the way of the next one.
    for (const probe::Shard& s : writer.shards()) std::remove((out + "/" + s.file).c_str());
    folder.discard();
    throw;
  }
  CaptureSummary summary;
  summary.prompts = m.prompts;
  summary.tokens = m.tokens;
  summary.shards = static_cast<int64_t>(m.shards.size());
  for (const probe::Shard& s : m.shards) summary.bytes += s.bytes;
  summary.manifest = probe::manifest_path(out);
  return summary;
}

}  // namespace mc
