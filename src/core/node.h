// A node of the lazy graph: an operation, its inputs and, once evaluated, its values. Nodes know nothing of
// engines.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "core/attrs.h"
#include "core/buffer.h"
#include "mc/array.h"

namespace mc {

enum class Op : uint16_t;
// Leaves carry no operation of the table.
inline constexpr Op kLeaf = static_cast<Op>(0xffff);         // data given by the user or already evaluated
inline constexpr Op kPlaceholder = static_cast<Op>(0xfffe);  // an argument of a function being traced

struct Aval {
  Shape shape;
  Dtype dtype = Dtype::F32;
  size_t nbytes() const { return static_cast<size_t>(shape.numel()) * itemsize(dtype); }
  friend bool operator==(const Aval&, const Aval&) = default;
};

// A list that keeps up to N items inline; never grows after construction.
template <class T, int N>
class FixedList {
 public:
  FixedList() = default;
  explicit FixedList(size_t n) { reset(n); }
  FixedList(const FixedList&) = delete;
  FixedList& operator=(const FixedList&) = delete;
  ~FixedList() { clear(); }
  void clear() {
    if (p_ != inline_) {
      delete[] p_;
    } else {
      for (uint32_t i = 0; i < n_; ++i) inline_[i] = T();
    }
    p_ = inline_;
    n_ = 0;
  }
  void reset(size_t n) {
    clear();
    n_ = static_cast<uint32_t>(n);
    if (n > N) p_ = new T[n];
  }
  uint32_t size() const { return n_; }
  T& operator[](size_t i) { return p_[i]; }
  const T& operator[](size_t i) const { return p_[i]; }
  T* begin() { return p_; }
  T* end() { return p_ + n_; }
  const T* begin() const { return p_; }
  const T* end() const { return p_ + n_; }
  std::span<const T> span() const { return {p_, n_}; }

 private:
  uint32_t n_ = 0;
  T inline_[N];
  T* p_ = inline_;
};

struct Node {
  Node(Op o, Attrs a, size_t n_in, size_t n_out)
      : op(o), attrs(std::move(a)), inputs(n_in), outs(n_out), values(n_out) {}

  void set_outputs(std::span<const Aval> avals) {
    outs.reset(avals.size());
    values.reset(avals.size());
    for (size_t i = 0; i < avals.size(); ++i) outs[i] = avals[i];
  }

  std::atomic<uint32_t> refs{1};
  Op op;
  bool tracer = false;  // depends on an argument of a transform: its inputs are kept after evaluation
  std::atomic<bool> evaluated{false};
  // Scratch of whoever holds the graph lock (see runtime/eval.cpp): valid when mark is its epoch.
  uint64_t mark = 0;
  int32_t id = 0;
  int32_t uses = 0;
  Attrs attrs;
  FixedList<Array, 4> inputs;
  FixedList<Aval, 1> outs;
  FixedList<Value, 1> values;
};

// Drops a reference; frees long chains iteratively.
void release_node(Node* node) noexcept;

inline Array share(Node* node, uint32_t index) {
  node->refs.fetch_add(1, std::memory_order_relaxed);
  return Array(node, index);
}

// A leaf that holds a value.
Array make_leaf(Aval aval, Value value);
// An argument of a function being traced: no value; evaluating it is an error.
Array make_placeholder(Aval aval);

inline const Aval& aval_of(const Array& a) { return a.node()->outs[a.index()]; }

}  // namespace mc
