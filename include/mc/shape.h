// Shapes and other short lists of integers (axes, strides, starts), stored inline.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "mc/export.h"

namespace mc {

inline constexpr int kMaxRank = 10;

// At most kMaxRank integers. A longer list throws ShapeMismatch.
class MC_API Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span<const int64_t>(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims) {
    resize_checked(dims.size());
    for (size_t i = 0; i < dims.size(); ++i) d_[i] = dims[i];
  }
  Shape(const std::vector<int64_t>& dims)
      : Shape(std::span<const int64_t>(dims)) {}  // NOLINT: a list is a shape
  static Shape filled(int n, int64_t value) {
    Shape s;
    s.resize_checked(static_cast<size_t>(n));
    for (int i = 0; i < n; ++i) s.d_[i] = value;
    return s;
  }

  int size() const { return n_; }
  int ndim() const { return n_; }
  bool empty() const { return n_ == 0; }
  int64_t operator[](int i) const { return d_[i]; }
  int64_t& operator[](int i) { return d_[i]; }
  // Counts from the end for negative i.
  int64_t at(int i) const { return d_[i < 0 ? i + n_ : i]; }
  const int64_t* begin() const { return d_; }
  const int64_t* end() const { return d_ + n_; }
  int64_t* begin() { return d_; }
  int64_t* end() { return d_ + n_; }
  int64_t back() const { return d_[n_ - 1]; }
  void push_back(int64_t v) {
    resize_checked(static_cast<size_t>(n_) + 1);
    d_[n_ - 1] = v;
  }
  void insert(int at, int64_t v);
  void erase(int at);
  // Product of all; 1 for a scalar. Overflow is checked where shapes are made from user input.
  int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < n_; ++i) n *= d_[i];
    return n;
  }
  bool contains(int64_t v) const {
    for (int i = 0; i < n_; ++i)
      if (d_[i] == v) return true;
    return false;
  }
  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.n_ != b.n_) return false;
    for (int i = 0; i < a.n_; ++i)
      if (a.d_[i] != b.d_[i]) return false;
    return true;
  }
  // "(2, 3)"
  std::string str() const;

 private:
  void resize_checked(size_t n) {
    if (n > kMaxRank) too_long(n);
    n_ = static_cast<int>(n);
  }
  [[noreturn]] static void too_long(size_t n);

  int64_t d_[kMaxRank];
  int n_ = 0;
};
using Axes = Shape;

}  // namespace mc
