#include "edit_value.h"

#include <sys/stat.h>
#include <algorithm>
#include <cmath>

#include <bit>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/file.h"
#include "mc/npy.h"
#include "mc/ops.h"
#include "mc/safetensors.h"

namespace mc::nn {
namespace {

using Json = nlohmann::json;

// Numbers on the host, row-major; an empty shape is one number.
struct Values {
  std::vector<float> data;
  std::vector<int64_t> shape;
  int64_t rows() const { return shape.empty() ? 1 : shape[0]; }
  size_t row_size() const {
    size_t n = 1;
    for (size_t i = 1; i < shape.size(); ++i) n *= static_cast<size_t>(shape[i]);
    return n;
  }
};

bool is_folder(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

// What "layer.12" or "q.3" is called in a capture.
std::string column_name(const Site& site) {
  return site.kind == SiteKind::ResidPost ? cat("layer.", site.layer) : site_name(site);
}

Values read_array(const std::string& path) {
  const Array a = read_npy(path);
  Values out;
  out.shape.assign(a.shape().begin(), a.shape().end());
  if (a.size() > 0) out.data = astype(a, Dtype::F32).to_vector<float>();
  return out;
}

Values read_tensor(const SafetensorsFile& file, const SafetensorsTensor& t) {
  if (!t.dtype || !(is_floating(*t.dtype) || is_integer(*t.dtype)))
    throw Error(ErrorCode::DtypeMismatch,
                cat("tensor ", t.name, " holds ", t.type, ", which are no numbers to write"), file.path());
  Values out;
  out.shape.assign(t.shape.begin(), t.shape.end());
  if (t.shape.numel() > 0) out.data = astype(file.array(t), Dtype::F32).to_vector<float>();
  return out;
}

const SafetensorsTensor& tensor_of(const SafetensorsFile& file, const std::string& name,
                                   const std::string& source) {
  if (const SafetensorsTensor* t = file.find(name)) return *t;
  std::string names;
  size_t shown = 0;
  for (const SafetensorsTensor& t : file.tensors())
    if (++shown <= 12) names += cat(shown == 1 ? "" : ", ", t.name);
  throw Error(ErrorCode::InvalidArgument, cat("there is no tensor ", name, " in the file"), source,
              cat("write FILE#TENSOR; it has ", names, shown > 12 ? cat(" and ", shown - 12, " more") : ""));
}

int64_t checked_row(int64_t row, int64_t rows, const char* what, const std::string& source) {
  if (row < -rows || row >= rows)
    throw Error(ErrorCode::IndexOutOfRange, cat(what, " ", row, " is not there"), source,
                rows == 0 ? std::string("it has none") : cat("there are ", rows, ": 0 to ", rows - 1));
  return row < 0 ? row + rows : row;
}

// Adds rows from … to of `part` to `out`.
void append_rows(Values& out, const Values& part, int64_t from, int64_t to) {
  if (out.shape.empty()) {
    out.shape = part.shape;
    out.shape[0] = 0;
  }
  const auto size = static_cast<std::ptrdiff_t>(part.row_size());
  out.data.insert(out.data.end(), part.data.begin() + from * size, part.data.begin() + to * size);
  out.shape[0] += to - from;
}

// All rows of a capture's tensor, or those of one prompt.
Values read_capture(const std::string& folder, const std::string& tensor, const RowChoice& choice,
                    const std::string& source) {
  const std::string path = folder + "/manifest.json";
  const Json m = Json::parse(read_small_file(path, size_t{256} << 20), nullptr, false);
  auto bad = [&](const char* what) {
    throw Error(ErrorCode::BadFormat, what, path, "name the folder of a capture");
  };
  if (!m.is_object() || m.value("schema", Json()) != Json("mc.capture/1") || !m.contains("shards") ||
      !m["shards"].is_array())
    bad("this is no manifest of a capture");
  auto count = [&](const Json& j, const char* key) {
    if (!j.is_object() || !j.contains(key) || !j[key].is_number_unsigned() ||
        j[key].get<uint64_t>() > uint64_t{1} << 50)
      bad("a shard's entry lacks a number");
    return j[key].get<int64_t>();
  };
  const bool by_token = m.value("pool", Json()) == Json("none");
  // Rows of one prompt are written by position only if none was left out.
  if (choice.prompt && !choice.row && !choice.mean && by_token &&
      m.value("positions", Json("all")) != Json("all"))
    throw Error(ErrorCode::InvalidArgument, "the capture holds chosen positions only", source,
                "choose one by row=, or capture all positions");
  int64_t prompts = 0;
  for (const Json& s : m["shards"]) prompts += count(s, "prompts");
  const int64_t prompt = choice.prompt ? checked_row(*choice.prompt, prompts, "prompt", source) : -1;
  Values out;
  for (const Json& s : m["shards"]) {
    const int64_t first = count(s, "first_prompt"), n = count(s, "prompts");
    if (prompt >= 0 && (prompt < first || prompt >= first + n)) continue;
    if (!s.contains("file") || !s["file"].is_string() ||
        s["file"].get<std::string>().find('/') != std::string::npos)
      bad("a shard's entry names no file of this folder");
    const auto file = SafetensorsFile::open(cat(folder, "/", s["file"].get<std::string>()));
    const Values part = read_tensor(*file, tensor_of(*file, tensor, source));
    if (part.shape.empty()) bad("a tensor has no rows");
    int64_t from = 0, to = part.rows();
    if (prompt >= 0) {
      from = prompt - first;
      to = from + 1;
      if (by_token) {
        const SafetensorsTensor& t = tensor_of(*file, "offsets", source);
        if (t.dtype != Dtype::I64 || t.shape.numel() != n + 1)
          bad("a shard's offsets are not as its entry says");
        const std::vector<int64_t> offsets = file->array(t).to_vector<int64_t>();
        from = offsets[static_cast<size_t>(prompt - first)];
        to = offsets[static_cast<size_t>(prompt - first) + 1];
      }
      if (from < 0 || to < from || to > part.rows()) bad("a shard's rows are not as its entry says");
    }
    append_rows(out, part, from, to);
  }
  if (out.shape.empty()) bad("the capture has no rows");
  return out;
}

}  // namespace

Array read_edit_value(const std::string& source, const Site& site, const RowChoice& choice) {
  const size_t hash = source.rfind('#');
  const std::string path = source.substr(0, hash);
  std::optional<std::string> tensor;
  if (hash != std::string::npos) tensor = source.substr(hash + 1);
  Values v;
  const bool capture = is_folder(path);
  if (!capture && choice.prompt)
    throw Error(ErrorCode::InvalidArgument, "only a capture has prompts", source, "choose a row by row=");
  if (capture) {
    v = read_capture(path, tensor.value_or(column_name(site)), choice, source);
  } else if (path.ends_with(".npy")) {
    if (tensor)
      throw Error(ErrorCode::InvalidArgument, "a .npy file has no tensors by name", source, "leave # out");
    v = read_array(path);
  } else {
    const auto file = SafetensorsFile::open(path);
    const bool only = file->tensors().size() == 1;
    v = read_tensor(*file, !tensor && only ? file->tensors()[0]
                                           : tensor_of(*file, tensor.value_or(column_name(site)), source));
  }
  if (v.data.empty()) throw Error(ErrorCode::InvalidArgument, "the value holds no numbers", source);
  const bool chosen = choice.row || choice.mean;
  if (chosen && v.shape.empty())
    throw Error(ErrorCode::InvalidArgument, "the value is one number and has no rows", source);
  if (choice.row) {
    const int64_t row = checked_row(*choice.row, v.rows(), "row", source);
    const auto size = static_cast<std::ptrdiff_t>(v.row_size());
    v.data = {v.data.begin() + row * size, v.data.begin() + (row + 1) * size};
  } else if (choice.mean) {
    const size_t size = v.row_size(), n = static_cast<size_t>(v.rows());
    std::vector<float> mean(size);
    for (size_t c = 0; c < size; ++c) {
      double sum = 0;
      for (size_t r = 0; r < n; ++r) sum += static_cast<double>(v.data[r * size + c]);
      mean[c] = static_cast<float>(sum / static_cast<double>(n));
    }
    v.data = std::move(mean);
  } else if (capture && v.rows() > 1 && !choice.prompt) {
    throw Error(ErrorCode::InvalidArgument,
                cat("the capture has ", v.rows(), " rows of ", tensor.value_or(column_name(site))), source,
                "choose a prompt by prompt=, a row by row=, or row=mean");
  }
  const auto odd = std::find_if(v.data.begin(), v.data.end(), [](float x) { return !std::isfinite(x); });
  if (odd != v.data.end())
    throw Error(
        ErrorCode::InvalidArgument,
        cat("element ", odd - v.data.begin(), " of the value is ", std::isnan(*odd) ? "NaN" : "infinite"),
        source, "every score behind it would be NaN: write finite numbers");
  // One row stands for every token; more of them, of a prompt, for the tokens at their positions.
  if (chosen || (capture && v.rows() == 1)) v.shape.erase(v.shape.begin());
  return Array(v.data, Shape(v.shape));
}

}  // namespace mc::nn
