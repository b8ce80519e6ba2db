// Matrices of samples × features to be measured: captures, and what people bring.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "mc/array.h"

namespace mc {

// Several matrices over the same samples, read one at a time.
class MC_API SampleSet {
 public:
  // Each source is the folder of a capture (all its sites, or those that `only` names: "resid_post.3"), a
  // .npy file of one matrix, or a .npz or .safetensors file of several. In captures, .safetensors and arrays
  // axes after the first are one. Throws ShapeMismatch for a .npy array of other than two axes, BadFormat,
  // InvalidArgument: captures that are not finished, matrices of different numbers of rows, none of that
  // name.
  explicit SampleSet(const std::vector<std::string>& sources, const std::vector<std::string>& only = {});
  // Arrays that are there, (rows, …) each of any real dtype.
  explicit SampleSet(std::vector<std::pair<std::string, Array>> matrices,
                     const std::vector<std::string>& only = {});
  size_t size() const { return entries_.size(); }
  int64_t rows() const { return rows_; }
  const std::string& name(size_t i) const { return entries_[i].name; }
  int64_t width(size_t i) const { return entries_[i].width; }
  // (rows, width) float32. Throws NotFinite naming the row of a NaN or infinity.
  Array load(size_t i) const;

 private:
  struct Entry {
    std::string name, source;
    int64_t rows = 0, width = 0;
    std::function<Array()> read;
  };
  void require_found(const std::vector<std::string>& only, const std::string& source) const;
  void add(Entry e, const std::vector<std::string>& only);
  void add_capture(const std::string& folder, const std::vector<std::string>& only);
  std::vector<Entry> entries_;
  std::vector<std::string> seen_;
  int64_t rows_ = 0;
};

}  // namespace mc
