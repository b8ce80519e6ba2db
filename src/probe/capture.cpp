#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>
#include <fstream>
#include <optional>
#include <span>

#include "capture_files.h"
#include "mc/detail/str.h"
#include "mc/edits.h"
#include "mc/error.h"
#include "mc/generate.h"
#include "mc/jsonl.h"
#include "mc/ops.h"
#include "mc/probe.h"
#include "mc/sha256.h"

namespace mc {
namespace {

using probe::Json;

constexpr const char* kPools[] = {"none", "last", "mean"};

// Of `n` float16.
bool all_finite(const std::byte* data, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    uint16_t bits;
    std::memcpy(&bits, data + 2 * i, 2);
    if ((bits & 0x7c00) == 0x7c00) return false;
  }
  return true;
}

std::string hash_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  Sha256 sum;
  std::vector<char> buffer(size_t{1} << 18);
  while (in) {
    in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    sum.update(std::as_bytes(std::span(buffer)).first(static_cast<size_t>(in.gcount())));
  }
  return sum.hex();
}

struct Prompt {
  std::vector<int32_t> ids;
  std::vector<int64_t> chosen;  // positions, ascending
};

constexpr std::string_view kShort =
    "choose positions that every prompt has (a range such as 0-499 is cut to the prompt), or leave the "
    "prompt out";

// The positions that a prompt of n tokens has of those asked for.
std::vector<int64_t> chosen_of(const PositionRanges& ranges, int64_t n, const TextLines& lines) {
  std::vector<int64_t> out;
  if (ranges.empty()) {
    for (int64_t i = 0; i < n; ++i) out.push_back(i);
    return out;
  }
  for (auto [first, last] : ranges) {
    const int64_t a = first < 0 ? first + n : first, b = last < 0 ? last + n : last;
    if (a == b && (a < 0 || a >= n))
      lines.fail(cat("has ", n, " tokens, position ", first, " is asked for"), kShort);
    for (int64_t i = std::max<int64_t>(a, 0); i <= std::min(b, n - 1); ++i) out.push_back(i);
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  if (out.empty()) lines.fail(cat("has ", n, " tokens, none of them at the positions asked for"), kShort);
  return out;
}

std::string str(const PositionRanges& ranges) {
  std::string out;
  for (auto [a, b] : ranges) out += cat(out.empty() ? "" : ",", a, a == b ? "" : cat("-", b));
  return out;
}

void check(const CaptureOptions& o) {
  if (o.batch_size < 1 || o.batch_size > 4096)
    throw Error(ErrorCode::InvalidArgument, cat("the batch size must be from 1 to 4096, got ", o.batch_size),
                "batch-size");
  if (o.parts > INT32_MAX)
    throw Error(ErrorCode::InvalidArgument, cat(o.parts, " parts are too many"), "shard",
                cat("use at most ", INT32_MAX));
  if (o.parts < 1 || o.part < 0 || o.part >= o.parts)
    throw Error(ErrorCode::InvalidArgument, cat("there is no part ", o.part + 1, " of ", o.parts), "shard",
                "use 1/4, 2/4, 3/4 and 4/4 for four parts");
  if (o.out.empty() && !o.on_prompt)
    throw Error(ErrorCode::InvalidArgument, "there is nowhere to put what is captured", "out");
}

Prompt encode(const Model& model, const CaptureOptions& o, const std::string& text, const TextLines& lines) {
  if (text.empty()) lines.fail("has an empty \"text\"");
  // An encoder reads its tokens around the text, as it was trained.
  EncodeOptions encode;
  if (model.config().encoder) encode.add_eos = std::nullopt;
  Prompt p{model.tokenizer().encode(text, encode), {}};
  if (static_cast<int64_t>(p.ids.size()) > model.config().context)
    throw Error(ErrorCode::ContextTooLong,
                cat("line ", lines.number(), " has ", p.ids.size(), " tokens, the model's context ",
                    model.config().context),
                o.data);
  if (p.ids.empty()) lines.fail("has a text without tokens");
  p.chosen = chosen_of(o.positions, static_cast<int64_t>(p.ids.size()), lines);
  return p;
}

size_t row_bytes(const std::vector<CaptureColumn>& columns) {
  size_t n = 0;
  for (const CaptureColumn& c : columns) n += static_cast<size_t>(c.row.numel()) * itemsize(c.dtype);
  return n;
}

// What the manifest says of this run.
probe::CaptureHead head_of(const Model& model, const CaptureOptions& o,
                           const std::vector<CaptureColumn>& columns) {
  probe::CaptureHead head;
  Json& m = head.fields;
  m["schema"] = "mc.capture/1";
  m["model"] = {{"name", model.config().name},
                {"architecture", model.config().architecture},
                {"sha256", model.file().content_sha256()}};
  const Device device = default_device();
  const std::string name = device_name(device);
  m["backend"] = name.substr(0, name.find(':'));
  m["device"] = name;
  m["precision"] = o.precision;
  m["data"] = {{"sha256", hash_of(o.data)}};
  const bool residual = std::all_of(columns.begin(), columns.end(), [](const CaptureColumn& c) {
    return c.site.kind == SiteKind::ResidPost;
  });
  if (residual) {
    m["layers"] = Json::array();
    for (const CaptureColumn& c : columns) m["layers"].push_back(c.site.layer);
    m["site"] = site_info(SiteKind::ResidPost).name;
    m["width"] = model.config().hidden;
  }
  m["sites"] = Json::array();
  for (const CaptureColumn& c : columns)
    m["sites"].push_back({{"name", site_name(c.site)},
                          {"tensor", c.tensor},
                          {"dtype", dtype_name(c.dtype)},
                          {"row", std::vector<int64_t>(c.row.begin(), c.row.end())}});
  m["positions"] = o.positions.empty() ? "all" : str(o.positions);
  m["pool"] = pool_name(o.pool);
  m["dtype"] = dtype_name(model.dtype());
  m["shard_bytes"] = o.shard_bytes;
  m["edits"] = Json::array();
  for (const Edit& e : o.edits) m["edits"].push_back(edit_note(e));
  return head;
}

// One batch after another through the model; rows of every prompt, in order, to `sink`.
class Runner {
 public:
  Runner(std::shared_ptr<const Model> model, const CaptureOptions& o, std::vector<CaptureColumn> columns)
      : model_(std::move(model)), o_(o), columns_(std::move(columns)), host_(columns_.size()) {
    for (const CaptureColumn& c : columns_) sites_.push_back(c.site);
    pooled_.resize(columns_.size());
  }

  template <class Sink>
  void run(const std::vector<Prompt>& batch, bool last, Sink&& sink) {
    // Padded to a multiple of 8, so that few shapes are compiled; a last, smaller batch is filled up with
    // rows that nobody reads. A file that is one batch needs no more rows than it has prompts.
    if (!session_) {
      rows_ = last ? batch.size() : static_cast<size_t>(o_.batch_size);
      session_.emplace(model_, static_cast<int64_t>(rows_), o_.edits);
    }
    size_t longest = 0;
    for (const Prompt& p : batch) longest = std::max(longest, p.ids.size());
    const size_t t = std::min<size_t>((longest + 7) / 8 * 8, static_cast<size_t>(model_->config().context));
    std::vector<int32_t> ids(rows_ * t, 0), lengths(rows_, 1);
    for (size_t r = 0; r < batch.size(); ++r) {
      std::copy(batch[r].ids.begin(), batch[r].ids.end(), ids.begin() + static_cast<std::ptrdiff_t>(r * t));
      lengths[r] = static_cast<int32_t>(batch[r].ids.size());
    }
    Arrays taps;
    session_->reset();
    session_->run(ids, o_.chunk, false, sites_, &taps, lengths);
    for (size_t i = 0; i < columns_.size(); ++i) {
      const Array x = o_.pool == Pool::Mean ? astype(taps[i], Dtype::F32) : taps[i];
      host_[i].resize(x.nbytes());
      x.to_bytes(host_[i].data());
      taps[i] = Array();
    }
    for (size_t r = 0; r < batch.size(); ++r) prompt(batch[r], r * t, sink);
  }

 private:
  template <class Sink>
  void prompt(const Prompt& p, size_t first, Sink&& sink) {
    std::vector<const std::byte*> rows;
    const int64_t count = o_.pool == Pool::None ? static_cast<int64_t>(p.chosen.size()) : 1;
    for (size_t i = 0; i < columns_.size(); ++i) {
      const CaptureColumn& c = columns_[i];
      const size_t width = static_cast<size_t>(c.row.numel()), bytes = width * itemsize(c.dtype);
      if (o_.pool == Pool::Mean) {
        mean(p, first, i, width);
        rows.push_back(pooled_[i].data());
      } else if (o_.pool == Pool::Last || p.chosen.size() == p.ids.size()) {
        const size_t at = o_.pool == Pool::Last ? static_cast<size_t>(p.chosen.back()) : 0;
        rows.push_back(host_[i].data() + (first + at) * bytes);
      } else {
        pooled_[i].resize(p.chosen.size() * bytes);
        for (size_t k = 0; k < p.chosen.size(); ++k)
          std::memcpy(pooled_[i].data() + k * bytes,
                      host_[i].data() + (first + static_cast<size_t>(p.chosen[k])) * bytes, bytes);
        rows.push_back(pooled_[i].data());
      }
      if (c.dtype == Dtype::F16 && !all_finite(rows.back(), static_cast<size_t>(count) * width))
        model_->overflowed();
    }
    sink(p, rows, count);
  }

  // In float64, rounded once.
  void mean(const Prompt& p, size_t first, size_t i, size_t width) {
    const float* x = reinterpret_cast<const float*>(host_[i].data());
    std::vector<float> out(width);
    for (size_t c = 0; c < width; ++c) {
      double sum = 0;
      for (int64_t k : p.chosen) sum += static_cast<double>(x[(first + static_cast<size_t>(k)) * width + c]);
      out[c] = static_cast<float>(sum / static_cast<double>(p.chosen.size()));
    }
    pooled_[i].resize(width * itemsize(columns_[i].dtype));
    astype(Array(out, {static_cast<int64_t>(width)}), columns_[i].dtype).to_bytes(pooled_[i].data());
  }

  std::shared_ptr<const Model> model_;
  const CaptureOptions& o_;
  std::vector<CaptureColumn> columns_;
  std::vector<Site> sites_;
  std::optional<Session> session_;
  size_t rows_ = 0;
  std::vector<std::vector<std::byte>> host_, pooled_;  // by column
};

}  // namespace

Pool parse_pool(const std::string& name) {
  for (int i = 0; i < 3; ++i)
    if (name == kPools[i]) return static_cast<Pool>(i);
  throw Error(ErrorCode::InvalidArgument, cat("'", name, "' is no way to pool"), "pool",
              "use none, last or mean");
}
const char* pool_name(Pool pool) { return kPools[static_cast<int>(pool)]; }

PositionRanges parse_positions(const std::string& list) {
  auto bad = [&](std::string_view part) {
    throw Error(ErrorCode::InvalidArgument, cat("'", part, "' names no positions"), "positions",
                "for example 0,4-7,-1; negative ones count from a prompt's end");
  };
  PositionRanges out;
  std::string_view rest = list;
  for (;;) {
    const std::string_view part = rest.substr(0, rest.find(','));
    auto number = [&](const char* from, int64_t& v) {
      const auto r = std::from_chars(from, part.data() + part.size(), v);
      if (r.ec != std::errc()) bad(part);
      return r.ptr;
    };
    int64_t first = 0, last = 0;
    const char* end = number(part.data(), first);
    last = first;
    if (end != part.data() + part.size() && *end == '-') end = number(end + 1, last);
    if (end != part.data() + part.size()) bad(part);
    if ((first < 0) == (last < 0) && first > last)
      throw Error(ErrorCode::InvalidArgument, cat("the range ", part, " runs backwards"), "positions");
    out.emplace_back(first, last);
    if (part.size() == rest.size()) return out;
    rest.remove_prefix(part.size() + 1);
  }
}

std::vector<CaptureColumn> capture_columns(const Model& model, const std::vector<Site>& sites) {
  if (sites.empty())
    throw Error(ErrorCode::InvalidArgument, "no layer and no site is asked for", "sites",
                "for example --layers 0,6,12 or --sites resid_post.0,attn_out.all");
  const ModelConfig& c = model.config();
  std::vector<CaptureColumn> out;
  for (const Site& asked : sites) {
    Site s = asked;
    const SiteInfo& info = site_info(s.kind);
    if (info.per_layer) s.layer = model.layer_index(s.layer);
    const std::string name = site_name(s);
    if (std::any_of(out.begin(), out.end(), [&](const CaptureColumn& o) { return o.site == s; }))
      throw Error(ErrorCode::InvalidArgument, cat(name, " is asked for twice"), "sites");
    CaptureColumn column{s, s.kind == SiteKind::ResidPost ? cat("layer.", s.layer) : name, model.dtype(), {}};
    switch (s.kind) {
      case SiteKind::Pattern:
        throw Error(ErrorCode::InvalidArgument,
                    "a pattern's rows are as long as the prompt: no table holds them", "sites",
                    "capture q and k, or read patterns in C++ or Python (docs/sites.md)");
      case SiteKind::Q:
      case SiteKind::Heads: column.row = {c.heads, c.head_dim}; break;
      case SiteKind::K:
      case SiteKind::V: column.row = {c.kv_heads, c.head_dim}; break;
      case SiteKind::MlpAct: column.row = {c.ffn}; break;
      case SiteKind::Logits:
        column.row = {c.vocab};
        column.dtype = Dtype::F32;
        break;
      default: column.row = {c.hidden};
    }
    out.push_back(std::move(column));
  }
  return out;
}

CaptureExtent measure_prompts(const Model& model, const std::string& data) {
  CaptureOptions o;
  o.data = data;
  TextLines lines(data);
  CaptureExtent e;
  for (std::string text; lines.next(text); ++e.prompts)
    e.longest = std::max(e.longest, static_cast<int64_t>(encode(model, o, text, lines).ids.size()));
  return e;
}

CapturePlan plan_capture(const std::shared_ptr<const Model>& model, const CaptureOptions& o, int64_t tokens) {
  if (!model)
    throw Error(ErrorCode::InvalidArgument, "there is no model", "plan_capture", "load one with load_model");
  const std::vector<CaptureColumn> columns = capture_columns(*model, o.sites);
  std::vector<Site> taps;
  for (const CaptureColumn& c : columns) taps.push_back(c.site);
  const int64_t context = model->config().context;
  const int64_t padded = std::min((std::min(tokens, context) + 7) / 8 * 8, context);
  CapturePlan p;
  p.device = plan_memory(model, padded, o.chunk, o.batch_size, taps);
  p.device.decode = 0;
  const size_t rows = static_cast<size_t>(o.batch_size * padded);
  // The values of a batch on the host, for a mean in float32, and a shard: its rows, and those of the prompt
  // that fills it.
  size_t wide = row_bytes(columns);
  if (o.pool == Pool::Mean) {
    wide = 0;
    for (const CaptureColumn& c : columns) wide += static_cast<size_t>(c.row.numel()) * sizeof(float);
  }
  p.host = rows * wide;
  if (!o.out.empty())
    p.host += o.shard_bytes + row_bytes(columns) * static_cast<size_t>(o.pool == Pool::None ? padded : 1);
  return p;
}

CaptureSummary capture(const std::shared_ptr<const Model>& model, const CaptureOptions& o,
                       const std::function<bool(const CaptureProgress&)>& progress) {
  const auto begin = std::chrono::steady_clock::now();
  if (!model)
    throw Error(ErrorCode::InvalidArgument, "there is no model", "capture", "load one with load_model");
  check(o);
  const std::vector<CaptureColumn> columns = capture_columns(*model, o.sites);
  TextLines lines(o.data);
  const int64_t total = count_texts(o.data);
  if (total == 0)
    throw Error(ErrorCode::BadData, "the file has no lines", o.data,
                "each line must look like {\"text\": \"…\"}");
  const int64_t first = total * o.part / o.parts, end = total * (o.part + 1) / o.parts;
  if (first == end)
    throw Error(ErrorCode::InvalidArgument,
                cat("part ", o.part + 1, " of ", o.parts, " of ", total, " prompts has none"), "shard",
                "use fewer parts");

  probe::Manifest m;
  std::optional<probe::OutputFolder> folder;
  std::optional<probe::ShardWriter> writer;
  CaptureSummary summary;
  if (!o.out.empty()) {
    m.head = head_of(*model, o, columns);
    if (o.parts > 1)
      m.head.part = {{"index", o.part}, {"of", o.parts}, {"first_prompt", first}, {"prompts", end - first}};
    folder.emplace(o.out, o.resume);
    summary.manifest = probe::manifest_path(o.out);
    if (folder->existed() && !folder->is_empty()) {
      probe::Manifest before = probe::read_manifest(o.out);
      probe::require_same(before.head, m.head, o.out,
                          "resume with the same model, data and options, or choose another --out");
      for (const probe::Shard& s : before.shards)
        if (!probe::is_whole(o.out, s))
          throw Error(ErrorCode::BadFormat, "the file is not as the manifest says", o.out + "/" + s.file,
                      "remove the folder and capture again");
      // The shard that a stop cut short is made again, whole.
      if (!before.complete && !before.shards.empty() &&
          static_cast<size_t>(before.shards.back().rows) * row_bytes(columns) < o.shard_bytes)
        before.shards.pop_back();
      m.shards = before.shards;
      for (const probe::Shard& s : m.shards) {
        summary.prompts += s.prompts;
        summary.tokens += s.tokens;
      }
      if (before.complete) m.complete = true;
    }
    summary.resumed = summary.prompts;
    summary.resumed_tokens = summary.tokens;
    writer.emplace(o.out, probe::columns_of(columns), o.pool == Pool::None, o.shard_bytes, m.shards, first);
  }
  auto save = [&](bool complete) {
    m.complete = complete;
    m.shards = writer->shards();
    m.prompts = m.tokens = 0;
    for (const probe::Shard& s : m.shards) {
      m.prompts += s.prompts;
      m.tokens += s.tokens;
    }
    probe::write_manifest(o.out, m);
  };

  Runner runner(model, o, columns);
  int64_t longest = 0;                       // of this run's prompts, in tokens
  int64_t number = first + summary.prompts;  // of the next prompt
  auto work = [&] {
    if (folder && !m.complete) save(false);
    lines.skip(number);
    while (number < end) {
      std::vector<Prompt> batch;
      std::string text;
      while (static_cast<int64_t>(batch.size()) < std::min(o.batch_size, end - number)) {
        if (!lines.next(text)) lines.fail("was the last: the file became shorter");
        batch.push_back(encode(*model, o, text, lines));
      }
      runner.run(batch, number + static_cast<int64_t>(batch.size()) == end,
                 [&](const Prompt& p, const std::vector<const std::byte*>& rows, int64_t count) {
                   const int64_t tokens = static_cast<int64_t>(p.ids.size());
                   if (o.on_prompt) o.on_prompt({number, tokens, count, rows});
                   if (writer && writer->add(rows, count, tokens)) save(false);
                   longest = std::max(longest, tokens);
                   ++number;
                   ++summary.prompts;
                   summary.tokens += tokens;
                 });
      summary.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      if (progress && !progress({summary.prompts, summary.tokens, summary.resumed, summary.seconds}))
        throw Error(ErrorCode::Interrupted, cat("stopped after ", summary.prompts, " prompts"), o.out,
                    o.out.empty() ? "" : "go on with --resume");
    }
    if (!m.complete && longest > 0) require_fired(o.edits, longest);
  };
  try {
    work();
  } catch (...) {
    // What was done before the error stays, and the manifest tells how far it went.
    try {
      if (folder && summary.prompts > 0) {
        writer->flush();
        save(false);
      } else if (folder && !folder->existed()) {
        std::remove(summary.manifest.c_str());
        folder->discard();
      }
    } catch (const Error&) {  // the first error is the one to tell
    }
    throw;
  }
  if (writer) {
    if (!m.complete) {
      writer->flush();
      save(true);
    }
    summary.shards = static_cast<int64_t>(writer->shards().size());
    for (const probe::Shard& s : writer->shards()) summary.bytes += s.bytes;
  }
  return summary;
}

}  // namespace mc
