// Gather, scatter and take along an axis. An index out of range reads the fill value and writes nothing.
// Scatters are deterministic: all updates of one element are made by one thread, in ascending order.
#include <algorithm>
#include <cstring>
#include <limits>

#include "backends/cuda/cu/launch.h"
#include "backends/cuda/jit.h"
#include "backends/cuda/kernel.h"
#include "backends/cuda/pointwise.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/ops.h"
#include "prims/attrs.h"

namespace mc::cuda {
namespace {

constexpr int kThreads = 256;

// NaN, the lowest integer, or false.
void fill_value(Dtype dtype, unsigned char* out) {
  std::memset(out, 0, 16);
  auto put = [&](auto v) { std::memcpy(out, &v, sizeof v); };
  auto put_two = [&](auto v) {
    put(v);
    std::memcpy(out + sizeof v, &v, sizeof v);
  };
  switch (dtype) {
    case Dtype::I8: return put(std::numeric_limits<int8_t>::min());
    case Dtype::I16: return put(std::numeric_limits<int16_t>::min());
    case Dtype::I32: return put(std::numeric_limits<int32_t>::min());
    case Dtype::I64: return put(std::numeric_limits<int64_t>::min());
    case Dtype::F16: return put(uint16_t{0x7e00});
    case Dtype::BF16: return put(uint16_t{0x7fc0});
    case Dtype::F32: return put(std::numeric_limits<float>::quiet_NaN());
    case Dtype::F64: return put(std::numeric_limits<double>::quiet_NaN());
    case Dtype::C64: return put_two(std::numeric_limits<float>::quiet_NaN());
    case Dtype::C128: return put_two(std::numeric_limits<double>::quiet_NaN());
    default: return;
  }
}

void gather(const Call& c) {
  const auto& a = c.attr<GatherAttrs>();
  const Tensor& src = c.in[0];
  GatherArgs g{};
  g.src = src.data;
  g.dst = c.out[0].data;
  g.count = c.in.size() > 1 ? c.in[1].numel() : 1;
  g.size = a.sizes.numel();
  g.nd = src.shape.ndim();
  const Shape strides = row_major(src.shape);
  for (int d = 0; d < g.nd; ++d) {
    g.dim[d] = src.shape[d];
    g.stride[d] = strides[d];
    g.sizes[d] = a.sizes[d];
  }
  g.n_index = static_cast<int>(c.in.size()) - 1;
  for (int k = 0; k < g.n_index; ++k) {
    g.index[k] = c.in[static_cast<size_t>(k) + 1].data;
    g.index_dtype[k] = static_cast<int>(c.in[static_cast<size_t>(k) + 1].dtype);
    g.axis[k] = static_cast<int>(a.axes[k]);
  }
  fill_value(src.dtype, g.fill);
  launch_gather(g, static_cast<int>(itemsize(src.dtype)), c.stream);
  check(cudaGetLastError(), "gather");
}

// Sizes before, along and after the axis.
struct AxisView {
  int64_t outer = 1, dim = 1, inner = 1;
  AxisView(const Shape& s, int axis) {
    for (int d = 0; d < s.ndim(); ++d) (d < axis ? outer : d == axis ? dim : inner) *= s[d];
  }
};

void take_along_axis(const Call& c) {
  const int axis = c.attr<AxisAttrs>().axis;
  const AxisView from(c.in[0].shape, axis), to(c.out[0].shape, axis);
  TakeAlongArgs t{};
  t.src = c.in[0].data;
  t.index = c.in[1].data;
  t.dst = c.out[0].data;
  t.index_dtype = static_cast<int>(c.in[1].dtype);
  t.outer = to.outer;
  t.from_dim = from.dim;
  t.to_dim = to.dim;
  t.inner = to.inner;
  fill_value(c.in[0].dtype, t.fill);
  launch_take_along(t, static_cast<int>(itemsize(c.in[0].dtype)), c.stream);
  check(cudaGetLastError(), "take_along_axis");
}

constexpr const char* kIndexHead = R"MC(
i64 read_index(const void* p, i64 dtype, i64 i) {
  switch ((int)dtype) {
    case 0: case 1: return ((const u8*)p)[i];
    case 2: return ((const u16*)p)[i];
    case 3: return ((const u32*)p)[i];
    case 4: { const u64 v = ((const u64*)p)[i]; return v >> 63 ? 0x7fffffffffffffffll : (i64)v; }
    case 5: return ((const i8*)p)[i];
    case 6: return ((const i16*)p)[i];
    case 7: return ((const i32*)p)[i];
    default: return ((const i64*)p)[i];
  }
}
)MC";

// A thread has a part of the places (base % parts) and one element of the window, and goes through all
// updates. Windows that may overlap are gone through by destination instead.
constexpr const char* kScatter = R"MC(
struct P { i64 count, size, parts, total; T* dst; const T* upd; i64 dim[ND], stride[ND], sizes[ND]; const void* index[NI]; i64 idt[NI], axis[NI]; };
extern "C" __global__ void __launch_bounds__(256) mc_kernel(const __grid_constant__ P p) {
  const i64 t = (i64)blockIdx.x * 256 + threadIdx.x;
#if OVERLAP
  if (t >= p.total) return;
  i64 c[ND], rest = t;
  for (int d = ND - 1; d >= 0; --d) { c[d] = rest % p.dim[d]; rest /= p.dim[d]; }
  C acc = ld(p.dst[t]);
  for (i64 k = 0; k < p.count; ++k) {
    i64 at[ND];
    for (int d = 0; d < ND; ++d) at[d] = 0;
    bool ok = true;
    for (int j = 0; j < NK; ++j) {
      const int ax = (int)p.axis[j];
      i64 i = read_index(p.index[j], p.idt[j], k);
      if (i < 0) i += p.dim[ax];
      ok = ok && i >= 0 && p.sizes[ax] <= p.dim[ax] && i <= p.dim[ax] - p.sizes[ax];
      at[ax] += i;
    }
    i64 e = 0;
    for (int d = 0; d < ND; ++d) {
      const i64 r = c[d] - at[d];
      ok = ok && r >= 0 && r < p.sizes[d];
      e = e * p.sizes[d] + r;
    }
    if (ok) acc = ld(st<T>(combine(acc, ld(p.upd[k * p.size + e]))));
  }
  p.dst[t] = st<T>(acc);
#else
  if (t >= p.parts * p.size) return;
  const i64 part = t / p.size, e = t % p.size;
  i64 inside = 0, rest = e;
  for (int d = ND - 1; d >= 0; --d) { inside += rest % p.sizes[d] * p.stride[d]; rest /= p.sizes[d]; }
  for (i64 k = 0; k < p.count; ++k) {
    i64 base = 0, mix = 0;
    bool ok = true;
    for (int j = 0; j < NK; ++j) {
      const int ax = (int)p.axis[j];
      i64 i = read_index(p.index[j], p.idt[j], k);
      if (i < 0) i += p.dim[ax];
      ok = ok && i >= 0 && p.sizes[ax] <= p.dim[ax] && i <= p.dim[ax] - p.sizes[ax];
      base += i * p.stride[ax];
      mix = mix * p.dim[ax] + i;
    }
    if (!ok || mix % p.parts != part) continue;
    T* q = p.dst + base + inside;
    *q = st<T>(combine(ld(*q), ld(p.upd[k * p.size + e])));
  }
#endif
}
)MC";

constexpr const char* kScatterAxis = R"MC(
struct P { i64 outer, from_dim, to_dim, inner, parts; T* dst; const T* upd; const void* index; i64 idt; };
extern "C" __global__ void __launch_bounds__(256) mc_kernel(const __grid_constant__ P p) {
  const i64 t = (i64)blockIdx.x * 256 + threadIdx.x;
  if (t >= p.outer * p.inner * p.parts) return;
  const i64 in = t % p.inner, part = t / p.inner % p.parts, o = t / p.inner / p.parts;
  for (i64 k = 0; k < p.from_dim; ++k) {
    const i64 at = (o * p.from_dim + k) * p.inner + in;
    i64 i = read_index(p.index, p.idt, at);
    if (i < 0) i += p.to_dim;
    if (i < 0 || i >= p.to_dim || i % p.parts != part) continue;
    T* q = p.dst + (o * p.to_dim + i) * p.inner + in;
    *q = st<T>(combine(ld(*q), ld(p.upd[at])));
  }
}
)MC";

std::string combine_source(Dtype d, ScatterMode mode) {
  const char* c = jit_computed(d);
  std::string body;
  const bool product = mode == ScatterMode::Multiply;
  switch (mode) {
    case ScatterMode::Set: body = "return y;"; break;
    case ScatterMode::Add:
    case ScatterMode::Multiply:
      body = d == Dtype::Bool ? cat("return x ", product ? "&&" : "||", " y;")
                              : cat("return ", product ? "op_mul" : "op_add", "(x, y);");
      break;
    case ScatterMode::Max:
    case ScatterMode::Min:
      if (d == Dtype::Bool)
        body = mode == ScatterMode::Max ? "return x || y;" : "return x && y;";
      else
        body = cat("return x != x || x ", mode == ScatterMode::Max ? ">" : "<", " y ? x : y;");
      break;
  }
  return cat("typedef ", jit_stored(d), " T; typedef ", c, " C;\nC combine(C x, C y) { ", body, " }\n",
             kIndexHead);
}

void copy_base(const Call& c) {
  const size_t bytes = static_cast<size_t>(c.out[0].numel()) * itemsize(c.out[0].dtype);
  if (c.in[0].data != c.out[0].data && bytes)
    check(cudaMemcpyAsync(c.out[0].data, c.in[0].data, bytes, cudaMemcpyDeviceToDevice, c.stream),
          "copying on the device");
}

// So many parts that the device is filled, no more than there are places.
int64_t parts_for(const Call& c, int64_t lines, int64_t places, int64_t count) {
  const int64_t threads = int64_t{c.device.multiprocessors} * 1024;
  return std::max<int64_t>(1, std::min({threads / std::max<int64_t>(1, lines), places, count}));
}

void scatter(const Call& c) {
  const auto& a = c.attr<ScatterAttrs>();
  copy_base(c);
  const Tensor& dst = c.out[0];
  const Tensor& updates = c.in.back();
  const std::span<const Tensor> indices = c.in.subspan(1, c.in.size() - 2);
  const int index_rank = indices.empty() ? 0 : indices[0].shape.ndim();
  Shape sizes;
  for (int d = index_rank; d < updates.shape.ndim(); ++d) sizes.push_back(updates.shape[d]);
  const int64_t count = indices.empty() ? 1 : indices[0].numel(), size = sizes.numel(), total = dst.numel();
  if (count == 0 || size == 0 || total == 0) return;
  bool overlap = false;
  int64_t places = 1;
  for (int64_t axis : a.axes) {
    const int64_t window = sizes[static_cast<int>(axis)];
    overlap = overlap || (window > 1 && window < dst.shape[static_cast<int>(axis)]);
    places *= dst.shape[static_cast<int>(axis)];
  }
  overlap = overlap && count > 1;
  const int nd = dst.shape.ndim(), nk = static_cast<int>(indices.size());
  auto source = [&] {
    return cat(combine_source(dst.dtype, static_cast<ScatterMode>(a.mode)), "#define ND ", std::max(nd, 1),
               "\n#define NK ", nk, "\n#define NI ", std::max(nk, 1), "\n#define OVERLAP ", overlap ? 1 : 0,
               "\n", kScatter);
  };
  const int64_t parts = parts_for(c, size, places, count);
  JitParams p;
  p.add(count), p.add(size), p.add(parts), p.add(total), p.add(dst.data), p.add(updates.data);
  const Shape strides = row_major(dst.shape);
  auto dims = [&](const Shape& s) {
    for (int64_t v : s) p.add(v);
    if (nd == 0) p.add(int64_t{1});
  };
  dims(dst.shape), dims(strides), dims(sizes);
  for (const Tensor& t : indices) p.add(t.data);
  if (nk == 0) p.add(int64_t{0});
  for (const Tensor& t : indices) p.add(static_cast<int64_t>(t.dtype));
  if (nk == 0) p.add(int64_t{0});
  for (int64_t axis : a.axes) p.add(axis);
  if (nk == 0) p.add(int64_t{0});
  const int64_t threads = overlap ? total : parts * size;
  jit_launch(c.kernel_of(source), (threads + kThreads - 1) / kThreads, kThreads, 0, c.stream, p.bytes());
}

void scatter_add_axis(const Call& c) {
  const int axis = c.attr<AxisAttrs>().axis;
  copy_base(c);
  const Tensor& dst = c.out[0];
  const AxisView to(dst.shape, axis), from(c.in[2].shape, axis);
  if (from.outer * from.dim * from.inner == 0 || dst.numel() == 0) return;
  const int64_t parts = parts_for(c, from.outer * from.inner, to.dim, from.dim);
  JitParams p;
  p.add(from.outer), p.add(from.dim), p.add(to.dim), p.add(from.inner), p.add(parts);
  p.add(dst.data), p.add(c.in[2].data), p.add(c.in[1].data), p.add(static_cast<int64_t>(c.in[1].dtype));
  const int64_t threads = from.outer * from.inner * parts;
  jit_launch(c.kernel_of([&] { return combine_source(dst.dtype, ScatterMode::Add) + kScatterAxis; }),
             (threads + kThreads - 1) / kThreads, kThreads, 0, c.stream, p.bytes());
}

// Binary search with NaN last.
constexpr const char* kSearch = R"MC(
bool less(C a, C b) { return a < b || (b != b && a == a); }
struct P { i64 n, m, right; const T* row; const V* values; i32* out; };
extern "C" __global__ void __launch_bounds__(256) mc_kernel(const __grid_constant__ P p) {
  const i64 k = (i64)blockIdx.x * 256 + threadIdx.x;
  if (k >= p.m) return;
  const C v = (C)ld(p.values[k]);
  i64 lo = 0, hi = p.n;
  while (lo < hi) {
    const i64 mid = (lo + hi) / 2;
    const C x = (C)ld(p.row[mid]);
    if (p.right ? !less(v, x) : less(x, v)) lo = mid + 1; else hi = mid;
  }
  p.out[k] = (i32)lo;
}
)MC";
std::string search_source(Dtype row, Dtype value) {
  auto name = [](Dtype d) { return d == Dtype::Bool ? "u8" : jit_stored(d); };
  return cat("typedef ", name(row), " T; typedef ", name(value), " V; typedef ",
             row == Dtype::Bool ? "u8" : jit_computed(row), " C;\n", kSearch);
}

void searchsorted(const Call& c) {
  JitParams p;
  const int64_t n = c.in[0].numel(), m = c.in[1].numel();
  if (m == 0) return;
  p.add(n), p.add(m), p.add(int64_t{c.attr<SearchAttrs>().right});
  p.add(c.in[0].data), p.add(c.in[1].data), p.add(c.out[0].data);
  jit_launch(c.kernel_of([&] { return search_source(c.in[0].dtype, c.in[1].dtype); }),
             (m + kThreads - 1) / kThreads, kThreads, 0, c.stream, p.bytes());
}

constexpr KernelRow kRows[] = {
    {Op::Gather, gather},
    {Op::Scatter, scatter, kInPlace},
    {Op::TakeAlongAxis, take_along_axis},
    {Op::ScatterAddAxis, scatter_add_axis, kInPlace},
    {Op::SearchSorted, searchsorted},
};

}  // namespace

std::span<const KernelRow> index_kernels() { return kRows; }

std::vector<std::string> index_samples() {
  std::vector<std::string> out;
  for (Dtype d : {Dtype::Bool, Dtype::I16, Dtype::F16, Dtype::F64, Dtype::C64})
    for (ScatterMode mode : {ScatterMode::Set, ScatterMode::Add, ScatterMode::Multiply, ScatterMode::Max}) {
      if (is_complex(d) && mode == ScatterMode::Max) continue;
      for (int overlap = 0; overlap < 2; ++overlap)
        out.push_back(cat(combine_source(d, mode),
                          "#define ND 2\n#define NK 1\n#define NI 1\n#define OVERLAP ", overlap, "\n",
                          kScatter));
      if (mode == ScatterMode::Add) out.push_back(combine_source(d, mode) + kScatterAxis);
    }
  out.push_back(search_source(Dtype::BF16, Dtype::F32));
  return out;
}

}  // namespace mc::cuda
