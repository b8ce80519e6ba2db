#include <sys/stat.h>
#include <unistd.h>
#include <optional>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/generate.h"
#include "mc/ops.h"
#include "mc/probe.h"
#include "mc/sha256.h"
#include "shard_writer.h"

namespace mc {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kPools[] = {"none", "last", "mean"};

// Reads JSON lines one at a time.
class Lines {
 public:
  explicit Lines(const std::string& path) : path_(path), in_(path, std::ios::binary) {
    if (!in_)
      throw Error(errno == ENOENT ? ErrorCode::FileNotFound : ErrorCode::FileRead, std::strerror(errno),
                  path);
  }
  // The next line's text; false at the end. Empty lines are skipped.
  bool next(std::string& text) {
    std::string line;
    while (std::getline(in_, line)) {
      ++number_;
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      const Json j = Json::parse(line, nullptr, false);
      if (j.is_discarded()) fail("is not JSON");
      if (!j.is_object() || !j.contains("text") || !j["text"].is_string()) fail("has no string \"text\"");
      text = j["text"].get<std::string>();
      if (text.empty()) fail("has an empty \"text\"");
      return true;
    }
    if (in_.bad()) throw Error(ErrorCode::FileRead, "reading stopped", path_);
    return false;
  }
  int64_t number() const { return number_; }
  [[noreturn]] void fail(std::string_view what) const {
    throw Error(ErrorCode::BadData, cat("line ", number_, " ", what), path_,
                "each line must look like {\"text\": \"…\"}");
  }

 private:
  std::string path_;
  std::ifstream in_;
  int64_t number_ = 0;
};

// Of `n` float16.
bool all_finite(const std::byte* data, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    uint16_t bits;
    std::memcpy(&bits, data + 2 * i, 2);
    if ((bits & 0x7c00) == 0x7c00) return false;
  }
  return true;
}

struct Prompt {
  std::vector<int32_t> ids;
};

}  // namespace

Pool parse_pool(const std::string& name) {
  for (int i = 0; i < 3; ++i)
    if (name == kPools[i]) return static_cast<Pool>(i);
  throw Error(ErrorCode::InvalidArgument, cat("'", name, "' is no way to pool"), "pool",
              "use none, last or mean");
}
const char* pool_name(Pool pool) { return kPools[static_cast<int>(pool)]; }

CaptureSummary capture(const std::shared_ptr<const Model>& model, const CaptureOptions& o,
                       const std::function<bool(const CaptureProgress&)>& progress) {
  const auto begin = std::chrono::steady_clock::now();
  if (o.batch_size < 1 || o.batch_size > 4096)
    throw Error(ErrorCode::InvalidArgument, cat("the batch size must be from 1 to 4096, got ", o.batch_size),
                "batch-size");
  if (o.layers.empty())
    throw Error(ErrorCode::InvalidArgument, "no layer is asked for", "layers", "for example --layers 0,6,12");
  std::vector<int> layers;
  for (int64_t l : o.layers) {
    const int index = model->layer_index(l);
    if (std::find(layers.begin(), layers.end(), index) != layers.end())
      throw Error(ErrorCode::InvalidArgument, cat("layer ", index, " is asked for twice"), "layers");
    layers.push_back(index);
  }
  std::vector<Site> sites;
  for (int l : layers) sites.push_back({SiteKind::ResidPost, l});
  Lines lines(o.data);
  if (mkdir(o.out.c_str(), 0777) != 0)
    throw Error(errno == EEXIST ? ErrorCode::FileExists : ErrorCode::FileWrite,
                errno == EEXIST ? "the output folder is already there" : std::strerror(errno), o.out);

  const int64_t d = model->config().hidden;
  const Dtype dtype = model->dtype();
  const size_t row_bytes = static_cast<size_t>(d) * itemsize(dtype);
  probe::ShardWriter writer(o.out, layers, d, dtype, o.pool == Pool::None, o.shard_bytes);
  CaptureSummary summary;
  summary.manifest = o.out + "/manifest.json";
  auto write_manifest = [&](bool complete) {
    Json m;
    m["schema"] = "mc.capture/1";
    m["complete"] = complete;
    m["model"] = {{"name", model->config().name},
                  {"architecture", model->config().architecture},
                  {"sha256", model->file().content_sha256()}};
    const Device device = default_device();
    const std::string name = device_name(device);
    m["backend"] = name.substr(0, name.find(':'));
    m["device"] = name;
    m["precision"] = o.precision;
    m["layers"] = layers;
    m["site"] = "resid_post";
    m["pool"] = pool_name(o.pool);
    m["width"] = d;
    m["dtype"] = dtype_name(model->dtype());
    m["prompts"] = summary.prompts;
    m["tokens"] = summary.tokens;
    m["shards"] = Json::array();
    for (const probe::Shard& s : writer.shards())
      m["shards"].push_back({{"file", s.file},
                             {"first_prompt", s.first_prompt},
                             {"prompts", s.prompts},
                             {"rows", s.rows},
                             {"bytes", s.bytes},
                             {"sha256", s.sha256}});
    const std::string text = m.dump(1) + "\n";
    probe::write_whole(summary.manifest, {{text.data(), text.size()}});
  };

  std::optional<Session> session;
  size_t all_rows = 0;
  std::vector<float> sums, wide;
  std::vector<std::byte> pooled(layers.size() * row_bytes);
  std::vector<std::vector<std::byte>> host(layers.size());
  bool more = true;
  auto work = [&] {
    while (more) {
      std::vector<Prompt> batch;
      std::string text;
      size_t longest = 0;
      while (static_cast<int64_t>(batch.size()) < o.batch_size && (more = lines.next(text))) {
        Prompt p{model->tokenizer().encode(text)};
        if (static_cast<int64_t>(p.ids.size()) > model->config().context)
          throw Error(ErrorCode::ContextTooLong,
                      cat("line ", lines.number(), " has ", p.ids.size(), " tokens, the model's context ",
                          model->config().context),
                      o.data);
        if (p.ids.empty()) lines.fail("has a text without tokens");
        longest = std::max(longest, p.ids.size());
        batch.push_back(std::move(p));
      }
      if (batch.empty()) break;
      // Padded to a multiple of 8, so that few shapes are compiled; a last, smaller batch is filled up with
      // rows that nobody reads. A file that is one batch needs no more rows than it has prompts.
      if (!session) {
        all_rows = more ? static_cast<size_t>(o.batch_size) : batch.size();
        session.emplace(model, static_cast<int64_t>(all_rows));
      }

      const size_t t = std::min<size_t>((longest + 7) / 8 * 8, static_cast<size_t>(model->config().context));
      std::vector<int32_t> ids(all_rows * t, 0);
      for (size_t r = 0; r < batch.size(); ++r)
        std::copy(batch[r].ids.begin(), batch[r].ids.end(), ids.begin() + static_cast<std::ptrdiff_t>(r * t));
      Arrays taps;
      session->reset();
      session->run(ids, o.chunk, false, sites, &taps);
      const bool mean = o.pool == Pool::Mean;
      for (size_t i = 0; i < layers.size(); ++i) {
        const Array x = mean ? astype(taps[i], Dtype::F32) : taps[i];
        host[i].resize(x.nbytes());
        x.to_bytes(host[i].data());
      }
      for (size_t r = 0; r < batch.size(); ++r) {
        const size_t n = batch[r].ids.size(), width = static_cast<size_t>(d);
        std::vector<const std::byte*> rows;
        if (mean) {
          sums.resize(layers.size() * width);
          for (size_t i = 0; i < layers.size(); ++i) {
            const float* x = reinterpret_cast<const float*>(host[i].data()) + r * t * width;
            for (size_t c = 0; c < width; ++c) {
              double sum = 0;
              for (size_t k = 0; k < n; ++k) sum += static_cast<double>(x[k * width + c]);
              sums[i * width + c] = static_cast<float>(sum / static_cast<double>(n));
            }
            rows.push_back(pooled.data() + i * row_bytes);
          }
          astype(Array(sums, {static_cast<int64_t>(sums.size())}), dtype).to_bytes(pooled.data());
        } else {
          for (size_t i = 0; i < layers.size(); ++i)
            rows.push_back(host[i].data() + (r * t + (o.pool == Pool::Last ? n - 1 : 0)) * row_bytes);
        }
        const size_t count = (o.pool == Pool::None ? n : 1) * width;
        if (dtype == Dtype::F16)
          for (const std::byte* row : rows)
            if (!all_finite(row, count)) model->overflowed();
        writer.add(rows, o.pool == Pool::None ? static_cast<int64_t>(n) : 1);
        ++summary.prompts;
        summary.tokens += static_cast<int64_t>(n);
      }
      summary.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      if (progress && !progress({summary.prompts, summary.tokens, summary.seconds}))
        throw Error(ErrorCode::Interrupted, cat("stopped after ", summary.prompts, " prompts"), o.out);
    }
  };
  try {
    work();
  } catch (...) {
    // What was done before the error stays, and the manifest tells how far it went.
    try {
      if (summary.prompts > 0) {
        writer.flush();
        write_manifest(false);
      } else {
        rmdir(o.out.c_str());
      }
    } catch (const Error&) {  // the first error is the one to tell
    }
    throw;
  }
  if (summary.prompts == 0) {
    rmdir(o.out.c_str());
    throw Error(ErrorCode::BadData, "the file has no lines", o.data,
                "each line must look like {\"text\": \"…\"}");
  }
  writer.flush();
  write_manifest(true);
  summary.shards = static_cast<int64_t>(writer.shards().size());
  for (const probe::Shard& s : writer.shards()) summary.bytes += s.bytes;
  return summary;
}

}  // namespace mc
