#include "mc/array.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "core/node.h"
#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc {

void release_node(Node* node) noexcept {
  if (node->refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  // A node's destructor would free its inputs recursively: a chain of a million nodes would overflow the
  // stack.
  thread_local std::vector<Node*> dying;
  thread_local bool draining = false;
  dying.push_back(node);
  if (draining) return;
  draining = true;
  while (!dying.empty()) {
    Node* n = dying.back();
    dying.pop_back();
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

Array::Array(bool v) : Array(from_bytes(&v, {}, Dtype::Bool)) {}
Array::Array(int v) : Array(from_bytes(&v, {}, Dtype::I32)) {}
Array::Array(float v) : Array(from_bytes(&v, {}, Dtype::F32)) {}

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
