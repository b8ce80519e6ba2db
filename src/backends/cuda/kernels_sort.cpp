// Sorting along an axis.
#include "backends/cuda/cu/launch.h"
#include "backends/cuda/cu/sort.h"
#include "backends/cuda/kernel.h"
#include "mc/error.h"
#include "prims/attrs.h"

namespace mc::cuda {
namespace {

SortLaunch lines_of(const Call& c, int32_t* order) {
  const int axis = c.attr<AxisAttrs>().axis;
  SortLaunch a{c.in[0].data, static_cast<int>(c.in[0].dtype), 1, 1, 1, order};
  for (int d = 0; d < c.in[0].shape.ndim(); ++d)
    (d < axis ? a.outer : d == axis ? a.n : a.inner) *= c.in[0].shape[d];
  return a;
}

void order(const Call& c, const SortLaunch& a) {
  std::byte* scratch = c.scratch.take(sort_scratch(a));
  launch_argsort(a, scratch, c.stream);
  check(cudaGetLastError(), "sort");
}

void argsort(const Call& c) {
  if (c.out[0].numel()) order(c, lines_of(c, c.out[0].as<int32_t>()));
}

void sort(const Call& c) {
  const int64_t n = c.out[0].numel();
  if (n == 0) return;
  const SortLaunch a = lines_of(c, reinterpret_cast<int32_t*>(c.scratch.take(static_cast<size_t>(n) * 4)));
  order(c, a);
  TakeAlongArgs t{};
  t.src = c.in[0].data;
  t.index = a.order;
  t.dst = c.out[0].data;
  t.index_dtype = static_cast<int>(Dtype::I32);
  t.outer = a.outer;
  t.from_dim = t.to_dim = a.n;
  t.inner = a.inner;
  launch_take_along(t, static_cast<int>(itemsize(c.in[0].dtype)), c.stream);
  check(cudaGetLastError(), "sort");
}

constexpr KernelRow kRows[] = {{Op::Sort, sort}, {Op::ArgSort, argsort}};

}  // namespace

std::span<const KernelRow> sort_kernels() { return kRows; }

}  // namespace mc::cuda
