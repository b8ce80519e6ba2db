#include "mc/array.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "core/node.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/system.h"

namespace mc {

void release_node(Node* node) noexcept {
  if (node->refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  // A node's destructor would free its inputs recursively: a chain of a million nodes would overflow the
  // stack.
  // The list goes through the nodes: nothing is allocated, and nothing is destroyed at the thread's end,
  // which arrays of static storage outlive.
  thread_local Node* dying = nullptr;
  thread_local bool draining = false;
  node->mark = reinterpret_cast<uintptr_t>(dying);
  dying = node;
  if (draining) return;
  draining = true;
  while (dying) {
    Node* n = dying;
    dying = reinterpret_cast<Node*>(n->mark);
    delete n;
  }
  draining = false;
}

Array::Array(const Array& other) noexcept : node_(other.node_), index_(other.index_) {
  if (node_) node_->refs.fetch_add(1, std::memory_order_relaxed);
}

void Array::release(Node* node) noexcept { release_node(node); }

Array make_leaf(Aval aval, Value value) {
  Node* n = new Node(kLeaf, {}, 0, 1);
  n->outs[0] = std::move(aval);
  n->values[0] = std::move(value);
  n->evaluated.store(true, std::memory_order_release);
  return Array(n, 0);
}

Array make_placeholder(Aval aval) {
  Node* n = new Node(kPlaceholder, {}, 0, 1);
  n->outs[0] = std::move(aval);
  n->tracer = true;
  return Array(n, 0);
}

namespace {

void check_numel(const Shape& shape) {
  int64_t n = 1;
  for (int64_t d : shape) {
    if (d < 0)
      throw Error(ErrorCode::ShapeMismatch, cat("a shape has no negative dimensions, got ", shape.str()),
                  "array");
    if (__builtin_mul_overflow(n, d, &n) || n > (int64_t{1} << 58))
      throw Error(ErrorCode::ShapeMismatch, cat("a shape of ", shape.str(), " has too many elements"),
                  "array");
  }
}

}  // namespace

Array Array::from_bytes(const void* data, const Shape& shape, Dtype dtype) {
  check_numel(shape);
  const Aval aval{shape, dtype};
  const size_t bytes = aval.nbytes();
  if (const size_t free = bytes >= (size_t{64} << 20) ? available_memory() : 0; free && bytes > free)
    throw Error(ErrorCode::OutOfMemory,
                cat("a copy of ", bytes, " bytes needs more than the ", free, " that are free"), "array",
                "wrap the memory instead of copying it");
  BufferPtr buffer(new Buffer);
  buffer->data = std::aligned_alloc(64, (bytes + 64) / 64 * 64);
  if (!buffer->data) throw Error(ErrorCode::OutOfMemory, cat("can't allocate ", bytes, " bytes"), "array");
  buffer->bytes = bytes;
  buffer->release = [](Buffer& b) { std::free(b.data); };
  if (bytes) std::memcpy(buffer->data, data, bytes);
  return make_leaf(aval, {std::move(buffer), 0});
}

Array Array::wrap(const void* data, const Shape& shape, Dtype dtype, std::shared_ptr<const void> keep,
                  Memory memory) {
  check_numel(shape);
  const Aval aval{shape, dtype};
  if (!data && aval.nbytes())
    throw Error(ErrorCode::InvalidArgument, cat("null memory for an array of shape ", shape.str()), "wrap");
  BufferPtr buffer(new Buffer);
  buffer->data = const_cast<void*>(data);
  buffer->bytes = aval.nbytes();
  buffer->constant = memory != Memory::Plain;
  buffer->mapped = memory == Memory::MappedFile;
  buffer->keep = std::move(keep);
  return make_leaf(aval, {std::move(buffer), 0});
}

Array Array::copy_of(const void* data, size_t count, Dtype dtype, const Shape& shape) {
  check_numel(shape);
  if (static_cast<int64_t>(count) != shape.numel())
    throw Error(ErrorCode::ShapeMismatch,
                cat("shape ", shape.str(), " needs ", shape.numel(), " elements, got ", count), "array");
  return from_bytes(data, shape, dtype);
}

Array::Array(const std::vector<bool>& data, const Shape& shape) {
  const std::unique_ptr<bool[]> bytes(new bool[data.size() + 1]);
  std::copy(data.begin(), data.end(), bytes.get());
  *this = copy_of(bytes.get(), data.size(), Dtype::Bool, shape);
}

Array::Array(Scalar v) {
  if (v.is_bool()) {
    const bool b = v.as_int() != 0;
    *this = from_bytes(&b, {}, Dtype::Bool);
  } else if (v.is_float()) {
    const auto f = static_cast<float>(v.as_double());
    *this = from_bytes(&f, {}, Dtype::F32);
  } else {
    const auto i = static_cast<int32_t>(v.as_int());
    if (i != v.as_int() || v.is_wide())
      throw Error(ErrorCode::InvalidArgument, cat(v.as_double(), " does not fit int32"), "array",
                  "use scalar(value, dtype)");
    *this = from_bytes(&i, {}, Dtype::I32);
  }
}

const Shape& Array::shape() const {
  if (!node_)
    throw Error(ErrorCode::InvalidArgument, "an empty Array was used", "array", "assign it a value first");
  return node_->outs[index_].shape;
}

int64_t Array::shape(int axis) const {
  const Shape& s = shape();
  const int a = axis < 0 ? axis + s.ndim() : axis;
  if (a < 0 || a >= s.ndim())
    throw Error(ErrorCode::IndexOutOfRange, cat("axis ", axis, " of an array of ", s.ndim(), " dimensions"),
                "shape");
  return s[a];
}

Dtype Array::dtype() const {
  shape();
  return node_->outs[index_].dtype;
}

bool Array::is_evaluated() const { return node_ && node_->evaluated.load(std::memory_order_acquire); }

void Array::check_dtype(Dtype expected) const {
  if (dtype() != expected)
    throw Error(ErrorCode::DtypeMismatch,
                cat("the array holds ", dtype_name(dtype()), ", not ", dtype_name(expected)), "array");
}

}  // namespace mc
