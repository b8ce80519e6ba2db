#include "mc/shape.h"

#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc {

void Shape::too_long(size_t n) {
  throw Error(ErrorCode::ShapeMismatch, cat("an array can have at most ", kMaxRank, " dimensions, got ", n),
              {}, "merge dimensions with reshape");
}

void Shape::insert(int at, int64_t v) {
  resize_checked(static_cast<size_t>(n_) + 1);
  for (int i = n_ - 1; i > at; --i) d_[i] = d_[i - 1];
  d_[at] = v;
}

void Shape::erase(int at) {
  for (int i = at; i + 1 < n_; ++i) d_[i] = d_[i + 1];
  --n_;
}

std::string Shape::str() const {
  std::string s = "(";
  for (int i = 0; i < n_; ++i) s += cat(i ? ", " : "", d_[i]);
  return s + (n_ == 1 ? ",)" : ")");
}

}  // namespace mc
