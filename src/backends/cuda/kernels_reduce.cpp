// Reductions, positions of extremes and scans, generated for each operation and dtype. A reduction is a tree:
// threads take every k-th element, a block joins its threads, and where one block an output would leave the
// device idle, chunks are joined by a second launch. The order is fixed by the shape alone, so results repeat
// bit for bit.
#include <algorithm>

#include "backends/cuda/jit.h"
#include "backends/cuda/kernel.h"
#include "backends/cuda/pointwise.h"
#include "mc/detail/str.h"
#include "prims/attrs.h"

namespace mc::cuda {
namespace {

constexpr int kThreads = 256;

// T: stored, A: accumulator, O: stored result; start, first(x, i), join, fin.
constexpr const char* kReduce = R"MC(
struct P { i64 m, n, chunks, second; const T* in; O* out; A* part; i64 kd[KR], ks[KR], rd[RR], rs[RR]; };
extern "C" __global__ void __launch_bounds__(256) mc_kernel(const __grid_constant__ P p) {
  const int lane = threadIdx.x % TPO, slot = threadIdx.x / TPO;
  const i64 per = 256 / TPO, tiles = (p.m + per - 1) / per;
  const i64 chunk = blockIdx.x / tiles, o = (blockIdx.x % tiles) * per + slot;
  A acc = start();
  if (p.second) {
    if (o < p.m)
      for (i64 c = lane; c < p.chunks; c += TPO) acc = join(acc, p.part[c * p.m + o]);
  } else if (o < p.m) {
    i64 base = 0, rest = o;
#pragma unroll
    for (int d = KR - 1; d >= 0; --d) { base += rest % p.kd[d] * p.ks[d]; rest /= p.kd[d]; }
    const i64 len = (p.n + p.chunks - 1) / p.chunks, from = chunk * len, to = from + len < p.n ? from + len : p.n;
#pragma unroll 4
    for (i64 i = from + lane; i < to; i += TPO) {
      i64 off;
      if (RR == 1) off = i * p.rs[0];
      else {
        off = 0;
        i64 r = i;
#pragma unroll
        for (int d = RR - 1; d >= 0; --d) { off += r % p.rd[d] * p.rs[d]; r /= p.rd[d]; }
      }
      acc = join(acc, first(ld(p.in[base + off]), i));
    }
  }
  if (TPO > 1) {
    __shared__ A sh[256];
    sh[threadIdx.x] = acc;
    __syncthreads();
#pragma unroll
    for (int h = TPO / 2; h > 0; h /= 2) {
      if (lane < h) sh[threadIdx.x] = join(sh[threadIdx.x], sh[threadIdx.x + h]);
      __syncthreads();
    }
    acc = sh[threadIdx.x];
  }
  if (lane == 0 && o < p.m) {
    if (p.chunks > 1 && !p.second) p.part[chunk * p.m + o] = acc;
    else p.out[o] = fin(acc);
  }
}
)MC";

// A line is cut into 256 runs: each thread sums its run, the runs' sums are scanned, each thread writes its
// run. Short lines are one thread's.
constexpr const char* kScan = R"MC(
struct P { i64 lines, n, inner, stride, reverse; const T* in; T* out; i64 kd[KR], ks[KR]; };
extern "C" __global__ void __launch_bounds__(256) mc_kernel(const __grid_constant__ P p) {
  const i64 line = WHOLE ? blockIdx.x : (i64)blockIdx.x * 256 + threadIdx.x;
  if (line >= p.lines) return;
  i64 base = 0, rest = line;
#pragma unroll
  for (int d = KR - 1; d >= 0; --d) { base += rest % p.kd[d] * p.ks[d]; rest /= p.kd[d]; }
  const i64 to = line / p.inner * p.n * p.inner + line % p.inner;
  const i64 len = WHOLE ? (p.n + 255) / 256 : p.n;
  const i64 begin = WHOLE ? (i64)threadIdx.x * len : 0, end = begin + len < p.n ? begin + len : p.n;
  A acc = start();
  if (WHOLE) {
    for (i64 k = begin; k < end; ++k) acc = join(acc, (A)ld(p.in[base + (p.reverse ? p.n - 1 - k : k) * p.stride]));
    __shared__ A sh[256];
    sh[threadIdx.x] = acc;
    __syncthreads();
    for (int h = 1; h < 256; h *= 2) {
      A v = sh[threadIdx.x];
      if ((int)threadIdx.x >= h) v = join(sh[threadIdx.x - h], v);
      __syncthreads();
      sh[threadIdx.x] = v;
      __syncthreads();
    }
    acc = threadIdx.x ? sh[threadIdx.x - 1] : start();
  }
  for (i64 k = begin; k < end; ++k) {
    const i64 i = p.reverse ? p.n - 1 - k : k;
    acc = join(acc, (A)ld(p.in[base + i * p.stride]));
    p.out[to + i * p.inner] = st<T>(acc);
  }
}
)MC";

const char* accumulator(Dtype d) {
  switch (d) {
    case Dtype::Bool: return "u8";
    case Dtype::F16:
    case Dtype::BF16: return "float";
    case Dtype::C64:
    case Dtype::C128: return "cd";
    default: return jit_stored(d);
  }
}
// Bool counts as a byte of 0 or 1.
const char* stored(Dtype d) { return d == Dtype::Bool ? "u8" : jit_stored(d); }

std::string unit(Dtype d, int value) { return is_complex(d) ? cat("cd{", value, ", 0}") : cat("(A)", value); }
std::string extreme(Dtype d, bool lowest) {
  if (is_floating(d))
    return cat(lowest ? "-" : "",
               d == Dtype::F64 ? "__longlong_as_double(0x7ff0000000000000ll)" : "bits_f(0x7f800000u)");
  return lowest ? "Lim<A>::min()" : "Lim<A>::max()";
}

// The part of a reduction's source that knows operation and dtype.
std::string reduce_head(Op op, Dtype d) {
  const std::string t = cat("typedef ", stored(d), " T;\n");
  switch (op) {
    case Op::Sum:
    case Op::Prod: {
      const bool sum = op == Op::Sum;
      return cat(t, "typedef ", accumulator(d), " A; typedef T O;\nA start() { return ", unit(d, sum ? 0 : 1),
                 "; }\nA first(A x, i64) { return x; }\nA join(A a, A b) { return ",
                 sum ? "op_add" : "op_mul", "(a, b); }\nO fin(A a) { return st<O>(a); }\n");
    }
    case Op::Max:
    case Op::Min: {
      const bool max = op == Op::Max;
      return cat(t, "typedef ", accumulator(d), " A; typedef T O;\nA start() { return ", extreme(d, max),
                 "; }\nA first(A x, i64) { return x; }\nA join(A a, A b) { return ",
                 max ? "op_max" : "op_min", "(a, b); }\nO fin(A a) { return st<O>(a); }\n");
    }
    case Op::Any:
    case Op::All: {
      const bool any = op == Op::Any;
      return cat(
          t, "typedef int A; typedef u8 O;\nA start() { return ", any ? 0 : 1,
          "; }\ntemplate <class C> A first(C x, i64) { return to_bool(x); }\nA join(A a, A b) { return a ",
          any ? "|" : "&", " b; }\nO fin(A a) { return (O)a; }\n");
    }
    default: {
      const bool max = op == Op::ArgMax;
      return cat(t, "typedef ", accumulator(d),
                 " C; struct A { C v; i64 i; }; typedef i32 O;\n"
                 "A start() { return {(C)0, -1}; }\nA first(C x, i64 i) { return {x, i}; }\n"
                 "A join(A a, A b) {\n  if (a.i < 0) return b;\n  if (b.i < 0) return a;\n"
                 "  const bool an = a.v != a.v, bn = b.v != b.v;\n"
                 "  if (an || bn) return an && (!bn || a.i < b.i) ? a : b;\n"
                 "  if (a.v == b.v) return a.i < b.i ? a : b;\n  return a.v ",
                 max ? ">" : "<", " b.v ? a : b;\n}\nO fin(A a) { return (O)a.i; }\n");
    }
  }
}
size_t accumulator_bytes(Op op, Dtype d) {
  switch (op) {
    case Op::Any:
    case Op::All: return 4;
    case Op::ArgMax:
    case Op::ArgMin: return 16;
    default: return is_complex(d) ? 16 : d == Dtype::F16 || d == Dtype::BF16 ? 4 : itemsize(d);
  }
}
std::string reduce_source(Op op, Dtype d, int kept, int reduced, int threads_per_output) {
  return cat(reduce_head(op, d), "#define KR ", kept, "\n#define RR ", reduced, "\n#define TPO ",
             threads_per_output, "\n", kReduce);
}

// At least one dimension of each kind, as the generated loops have.
struct Split : strided::Split {
  Split(const Tensor& t, const Axes& axes) : strided::Split(t.shape, t.strides, axes) {
    if (kept.empty()) kept = {1}, kept_strides = {0};
    if (reduced.empty()) reduced = {1}, reduced_strides = {0};
  }
};

void add_all(JitParams& p, const Shape& s) {
  for (int64_t v : s) p.add(v);
}

void reduce_over(const Call& c, const Axes& axes) {
  const Tensor &in = c.in[0], &out = c.out[0];
  const int64_t m = out.numel();
  if (m == 0) return;
  const Split s(in, axes);
  const int64_t n = in.numel() / m;
  // Columns: neighbouring threads read neighbouring outputs.
  const bool columns = s.kept_strides.back() == 1 && s.reduced_strides.back() != 1 && m >= 32;
  const int per_output = columns ? (m >= 4096 ? 1 : n >= 32 ? 32 : 1) : n >= 1024 ? 256 : n >= 32 ? 32 : 1;
  const int64_t tiles = (m + kThreads / per_output - 1) / (kThreads / per_output);
  const int64_t wanted = 4 * c.device.multiprocessors;
  int64_t chunks = 1;
  if (tiles < wanted)
    chunks = std::clamp<int64_t>(std::min(wanted / tiles, n / (int64_t{per_output} * 16)), 1, 1024);
  const JitKernel kernel =
      c.kernel_of([&] { return reduce_source(c.op, in.dtype, s.kept.ndim(), s.reduced.ndim(), per_output); });
  std::byte* part = nullptr;
  if (chunks > 1) part = c.scratch.take(static_cast<size_t>(chunks * m) * accumulator_bytes(c.op, in.dtype));
  for (int64_t second = 0; second < (chunks > 1 ? 2 : 1); ++second) {
    JitParams p;
    p.add(m), p.add(n), p.add(chunks), p.add(second), p.add(in.data), p.add(out.data), p.add(part);
    add_all(p, s.kept), add_all(p, s.kept_strides), add_all(p, s.reduced), add_all(p, s.reduced_strides);
    jit_launch(kernel, second ? tiles : tiles * chunks, kThreads, 0, c.stream, p.bytes());
  }
}

void reduce(const Call& c) { reduce_over(c, c.attr<ReduceAttrs>().axes); }
void arg_extreme(const Call& c) { reduce_over(c, {c.attr<ArgReduceAttrs>().axis}); }

std::string scan_source(Op op, Dtype d, int kept, bool whole) {
  const bool sum = op == Op::CumSum;
  return cat("typedef ", stored(d), " T; typedef ", accumulator(d), " A;\nA start() { return ",
             unit(d, sum ? 0 : 1), "; }\nA join(A a, A b) { return ", sum ? "op_add" : "op_mul",
             "(a, b); }\n#define KR ", kept, "\n#define WHOLE ", whole ? 1 : 0, "\n", kScan);
}

void scan(const Call& c) {
  const auto& a = c.attr<ScanAttrs>();
  const Tensor &in = c.in[0], &out = c.out[0];
  if (out.numel() == 0) return;
  const int64_t n = in.shape[a.axis], lines = out.numel() / n;
  int64_t inner = 1;
  for (int d = a.axis + 1; d < in.shape.ndim(); ++d) inner *= in.shape[d];
  const Split s(in, {a.axis});
  const bool whole = n >= 512;
  JitParams p;
  p.add(lines), p.add(n), p.add(inner), p.add(n > 1 ? in.strides[a.axis] : int64_t{0}),
      p.add(int64_t{a.reverse});
  p.add(in.data), p.add(out.data);
  add_all(p, s.kept), add_all(p, s.kept_strides);
  jit_launch(c.kernel_of([&] { return scan_source(c.op, in.dtype, s.kept.ndim(), whole); }),
             whole ? lines : (lines + kThreads - 1) / kThreads, kThreads, 0, c.stream, p.bytes());
}

constexpr KernelRow kRows[] = {
    {Op::Sum, reduce, kAnyStrides},         {Op::Prod, reduce, kAnyStrides},
    {Op::Max, reduce, kAnyStrides},         {Op::Min, reduce, kAnyStrides},
    {Op::Any, reduce, kAnyStrides},         {Op::All, reduce, kAnyStrides},
    {Op::ArgMax, arg_extreme, kAnyStrides}, {Op::ArgMin, arg_extreme, kAnyStrides},
    {Op::CumSum, scan, kAnyStrides},        {Op::CumProd, scan, kAnyStrides},
};

}  // namespace

std::span<const KernelRow> reduce_kernels() { return kRows; }

std::vector<std::string> reduce_samples() {
  std::vector<std::string> out;
  for (Op op : {Op::Sum, Op::Prod, Op::Max, Op::Min, Op::Any, Op::All, Op::ArgMax, Op::ArgMin, Op::CumSum,
                Op::CumProd}) {
    for (Dtype d : {Dtype::Bool, Dtype::I64, Dtype::BF16, Dtype::F32, Dtype::C64}) {
      if (op == Op::CumSum || op == Op::CumProd) {
        if (d != Dtype::Bool) out.push_back(scan_source(op, d, 1, true));
        continue;
      }
      const bool ordered = op != Op::Sum && op != Op::Prod && op != Op::Any && op != Op::All;
      if (is_complex(d) && ordered) continue;
      out.push_back(reduce_source(op, d, 2, 2, 32));
    }
  }
  return out;
}

}  // namespace mc::cuda
