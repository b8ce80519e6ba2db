#include "mc/samples.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "capture_files.h"
#include "mc/detail/str.h"
#include "mc/device.h"
#include "mc/error.h"
#include "mc/npy.h"
#include "mc/ops.h"
#include "mc/safetensors.h"

namespace mc {
namespace {

// (rows, everything else)
Array matrix(const Array& a) {
  const int64_t rows = a.shape(0);
  return reshape(astype(a, Dtype::F32), {rows, rows ? a.size() / rows : 0});
}

// Of files that people bring: which of more axes are samples, and which features, they must say.
void require_matrix(const Array& a, const std::string& where) {
  if (a.ndim() != 2)
    throw Error(ErrorCode::ShapeMismatch, cat("samples are a matrix, got the shape ", a.shape().str()), where,
                "reshape it to (samples, features)");
}

Array read_shards(const std::string& folder, const probe::Manifest& m, const probe::Column& column) {
  Arrays parts;
  for (const probe::Shard& s : m.shards) {
    const auto file = SafetensorsFile::open(folder + "/" + s.file);
    const SafetensorsTensor& t = file->require(column.name);
    Shape shape{s.rows};
    for (int64_t n : column.row) shape.push_back(n);
    if (t.dtype != column.dtype || t.shape != shape)
      throw Error(ErrorCode::BadFormat, cat(column.name, " has not the shape that the manifest says"),
                  file->path(), "capture again");
    parts.push_back(matrix(file->array(t)).eval());
  }
  return parts.size() == 1 ? parts[0] : concatenate(parts, 0).eval();
}

std::string stem(const std::string& path) { return std::filesystem::path(path).stem().string(); }

}  // namespace

SampleSet::SampleSet(const std::vector<std::string>& sources, const std::vector<std::string>& only) {
  if (sources.empty())
    throw Error(ErrorCode::InvalidArgument, "there is nothing to measure", "samples",
                "name the folder of a capture, or .npy, .npz and .safetensors files");
  for (const std::string& s : sources) {
    std::error_code ec;
    if (std::filesystem::is_directory(s, ec)) {
      add_capture(s, only);
    } else if (s.ends_with(".npy")) {
      const Array a = read_npy(s);
      require_matrix(a, s);
      add({stem(s), s, a.shape(0), a.shape(0) ? a.size() / a.shape(0) : 0, [a] { return matrix(a); }}, only);
    } else if (s.ends_with(".npz")) {
      for (const auto& [name, a] : read_npz(s))
        if (a.ndim() >= 2) {
          require_matrix(a, cat(s, ", ", name));
          add({name, s, a.shape(0), a.shape(0) ? a.size() / a.shape(0) : 0, [a = a] { return matrix(a); }},
              only);
        }
    } else {
      const auto file = SafetensorsFile::open(s);
      for (const SafetensorsTensor& t : file->tensors())
        if (t.shape.ndim() >= 2 && t.dtype)
          add({t.name, s, t.shape[0], t.shape[0] ? t.shape.numel() / t.shape[0] : 0,
               [file, &t] { return matrix(file->array(t)); }},
              only);
    }
  }
  require_found(only, sources[0]);
}

SampleSet::SampleSet(std::vector<std::pair<std::string, Array>> matrices,
                     const std::vector<std::string>& only) {
  for (const auto& [name, a] : matrices) {
    if (a.ndim() < 2 || is_complex(a.dtype()))
      throw Error(ErrorCode::ShapeMismatch,
                  cat("samples are a matrix of real numbers, got ", dtype_name(a.dtype()), a.shape().str()),
                  name);
    add({name, name, a.shape(0), a.shape(0) ? a.size() / a.shape(0) : 0,
         [a = a] { return to_device(matrix(a), default_device()); }},
        only);
  }
  require_found(only, "samples");
}

void SampleSet::require_found(const std::vector<std::string>& only, const std::string& source) const {
  for (const std::string& name : only)
    if (std::none_of(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.name == name; })) {
      std::string names;
      for (size_t i = 0; i < std::min<size_t>(seen_.size(), 12); ++i) names += cat(i ? ", " : "", seen_[i]);
      throw Error(
          ErrorCode::InvalidArgument, cat("there is no matrix ", name), source,
          cat("there are ", names, seen_.size() > 12 ? cat(" and ", seen_.size() - 12, " more") : ""));
    }
  if (entries_.empty())
    throw Error(ErrorCode::InvalidArgument, "there is no matrix in it", source,
                "samples are arrays of two axes or more: samples × features");
}

void SampleSet::add(Entry e, const std::vector<std::string>& only) {
  seen_.push_back(e.name);
  if (!only.empty() && std::find(only.begin(), only.end(), e.name) == only.end()) return;
  if (entries_.empty())
    rows_ = e.rows;
  else if (e.rows != rows_)
    throw Error(ErrorCode::ShapeMismatch,
                cat(e.name, " has ", e.rows, " rows, ", entries_[0].name, " has ", rows_), e.source,
                "measure matrices over the same samples");
  if (e.rows < 1 || e.width < 1)
    throw Error(ErrorCode::InvalidArgument, cat(e.name, " holds nothing"), e.source);
  for (const Entry& other : entries_)
    if (other.name == e.name) e.name = cat(stem(e.source), ":", e.name);
  entries_.push_back(std::move(e));
}

void SampleSet::add_capture(const std::string& folder, const std::vector<std::string>& only) {
  const probe::Manifest m = probe::read_manifest(folder);
  if (!m.complete)
    throw Error(ErrorCode::InvalidArgument,
                cat("the capture is not finished: ", m.prompts, " prompts are there"), folder,
                "run it again with --resume");
  if (!m.head.part.is_null())
    throw Error(ErrorCode::InvalidArgument, "this is one part of a capture", folder,
                "put the parts together with `mc probe merge`");
  const std::vector<probe::Column> columns = probe::columns_of(m, probe::manifest_path(folder));
  int64_t rows = 0;
  for (const probe::Shard& s : m.shards) rows += s.rows;
  for (size_t i = 0; i < columns.size(); ++i) {
    const probe::Column& c = columns[i];
    const std::string name = m.head.fields["sites"][i].value("name", c.name);
    add({name, folder, rows, c.row.numel(), [folder, m, c] { return read_shards(folder, m, c); }}, only);
  }
}

Array SampleSet::load(size_t i) const {
  const Entry& e = entries_[i];
  const Array a = e.read().eval();
  const Array finite = all(isfinite(a), {1}).eval();
  const std::vector<uint8_t> ok = astype(finite, Dtype::U8).to_vector<uint8_t>();
  for (size_t r = 0; r < ok.size(); ++r)
    if (!ok[r])
      throw Error(ErrorCode::NotFinite, cat("row ", r, " of ", e.name, " holds a NaN or an infinity"),
                  e.source, "measures are of finite numbers");
  return a;
}

}  // namespace mc
