// Reductions and scans over any axes and strides, in the order of the contract: element i of a reduction
// (row-major over the reduced axes) goes to accumulator (i/16) mod 4, lane i mod 16; then (a0+a1)+(a2+a3)
// lane by lane, then a fixed tree.
#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <vector>

#include "backends/numpy/dtype_dispatch.h"
#include "backends/numpy/kernel.h"
#include "backends/numpy/kernels/reduce.h"
#include "backends/numpy/memory.h"
#include "backends/numpy/simd/convert.h"
#include "base/thread_pool.h"
#include "mc/device.h"
#include "prims/attrs.h"

namespace mc::numpy {
namespace {

template <class T>
struct Widened {
  using type = T;
};
template <>
struct Widened<float16> {
  using type = float;
};
template <>
struct Widened<bfloat16> {
  using type = float;
};
template <class T>
using Wide = typename Widened<T>::type;

template <class T>
Wide<T> widen(T v) {
  if constexpr (std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>)
    return simd::to_f32(v);
  else
    return v;
}
template <class T>
T narrow(Wide<T> v) {
  if constexpr (std::is_same_v<T, float16>)
    return simd::to_f16(v);
  else if constexpr (std::is_same_v<T, bfloat16>)
    return simd::to_bf16(v);
  else
    return v;
}

// Integers wrap: signed overflow is defined by going through the unsigned type.
template <class A>
A wrapping(A a, A b, bool product) {
  if constexpr (std::is_integral_v<A> && !std::is_same_v<A, bool>) {
    using U = std::make_unsigned_t<A>;
    // Small types would promote to int, whose product may overflow.
    using W = std::conditional_t<(sizeof(U) < 4), uint32_t, U>;
    const W x = static_cast<W>(static_cast<U>(a)), y = static_cast<W>(static_cast<U>(b));
    return static_cast<A>(static_cast<U>(product ? x * y : x + y));
  } else {
    return product ? a * b : a + b;
  }
}
template <class A>
bool is_nan(A v) {
  if constexpr (std::is_floating_point_v<A>) return std::isnan(v);
  return false;
}
template <class A>
A lowest() {
  if constexpr (std::is_floating_point_v<A>)
    return -std::numeric_limits<A>::infinity();
  else
    return std::numeric_limits<A>::lowest();
}
template <class A>
A highest() {
  if constexpr (std::is_floating_point_v<A>)
    return std::numeric_limits<A>::infinity();
  else
    return std::numeric_limits<A>::max();
}

struct SumOp {
  static constexpr kernels::Join kJoin = kernels::Join::Sum;
  template <class A>
  static A start() {
    return A(0);
  }
  template <class A>
  static A join(A a, A b) {
    return wrapping(a, b, false);
  }
};
struct ProdOp {
  static constexpr kernels::Join kJoin = kernels::Join::Prod;
  template <class A>
  static A start() {
    return A(1);
  }
  template <class A>
  static A join(A a, A b) {
    return wrapping(a, b, true);
  }
};
struct MaxOp {
  static constexpr kernels::Join kJoin = kernels::Join::Max;
  template <class A>
  static A start() {
    return lowest<A>();
  }
  template <class A>
  static A join(A a, A b) {
    return is_nan(a) ? a : (is_nan(b) || b > a) ? b : a;
  }
};
struct MinOp {
  static constexpr kernels::Join kJoin = kernels::Join::Min;
  template <class A>
  static A start() {
    return highest<A>();
  }
  template <class A>
  static A join(A a, A b) {
    return is_nan(a) ? a : (is_nan(b) || b < a) ? b : a;
  }
};

// 64 accumulators to one: 16·a + l is lane l of accumulator a.
template <class A, class R>
A tree(const A* v) {
  A lane[16];
  for (int k = 0; k < 16; ++k)
    lane[k] =
        R::template join<A>(R::template join<A>(v[k], v[16 + k]), R::template join<A>(v[32 + k], v[48 + k]));
  for (int half = 8; half >= 1; half /= 2)
    for (int k = 0; k < half; ++k) lane[k] = R::template join<A>(lane[k], lane[k + half]);
  return lane[0];
}

template <class A, class R>
class Lanes {
 public:
  // fast: null, or the vector form for the elements' dtype
  explicit Lanes(const kernels::ReduceFns* fast) : fast_(fast) {
    std::fill_n(&v_[0][0], 64, R::template start<A>());
  }
  // n elements from `first` on, `stride` apart; `at` is the index of the first one in the reduction.
  template <class T>
  void add(const T* p, int64_t stride, int64_t n, int64_t at) {
    int64_t i = 0;
    if (stride == 1) {
      for (; i < n && ((at + i) & 63); ++i) one(widen(p[i]), at + i);
      if (const int64_t blocks = (n - i) / 64; fast_ && blocks) {
        fast_->blocks(v_, p + i, blocks);
        i += blocks * 64;
      }
      for (; i + 16 <= n; i += 16) {
        A* acc = v_[((at + i) >> 4) & 3];
        for (int k = 0; k < 16; ++k) acc[k] = R::template join<A>(acc[k], widen(p[i + k]));
      }
    }
    for (; i < n; ++i) one(widen(p[i * stride]), at + i);
  }
  A total() const { return tree<A, R>(&v_[0][0]); }

 private:
  void one(A x, int64_t i) {
    A& acc = v_[(i >> 4) & 3][i & 15];
    acc = R::template join<A>(acc, x);
  }
  const kernels::ReduceFns* fast_;
  A v_[4][16];
};

struct Split : strided::Split {
  Split(const Tensor& t, const Axes& axes) : strided::Split(t.shape, t.strides, axes) {}
  int64_t offset(int64_t i) const {
    int64_t o = 0;
    for (int d = kept.ndim() - 1; d >= 0; --d) {
      o += i % kept[d] * kept_strides[d];
      i /= kept[d];
    }
    return o;
  }
  // fn(element offset, stride, run, index of the run's first element)
  template <class F>
  void runs(F fn) const {
    if (reduced.empty()) return fn(int64_t{0}, int64_t{1}, int64_t{1}, int64_t{0});
    const int last = reduced.ndim() - 1;
    const int64_t inner = reduced[last], rows = inner ? reduced.numel() / inner : 0;
    Shape at = Shape::filled(reduced.ndim(), 0);
    int64_t offset = 0;
    for (int64_t r = 0; r < rows; ++r) {
      fn(offset, reduced_strides[last], inner, r * inner);
      for (int d = last - 1; d >= 0; --d) {
        offset += reduced_strides[d];
        if (++at[d] < reduced[d]) break;
        offset -= reduced[d] * reduced_strides[d];
        at[d] = 0;
      }
    }
  }
};

template <class F>
void each_output(const Tensor& out, int64_t work, F fn) {
  parallel_for(out.numel(), std::max<int64_t>(1, 32768 / std::max<int64_t>(1, work)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) fn(i);
               });
}

// Columns that lie side by side, reduced over rows: a strip of columns at a time, so that memory is read in
// order. Accumulator j of a column is acc[j * width + column].
template <class T, class R>
void reduce_columns(const Split& s, const T* src, T* dst, const kernels::ReduceFns* fast) {
  using A = Wide<T>;
  constexpr int64_t kWidest = 4096 / static_cast<int64_t>(sizeof(A));  // 64 of them stay in L2
  const int64_t cols = s.kept.back(), lines = s.kept.numel() / cols, n = s.reduced.numel();
  int64_t width = std::min(kWidest, cols);
  if (const int64_t threads = num_threads(); lines < threads)  // enough strips for every thread
    width = std::min(width, std::max<int64_t>(64, (cols * lines / threads + 63) / 64 * 64));
  const int64_t strips = (cols + width - 1) / width, used = std::min<int64_t>(n, 64);
  parallel_for(lines * strips, std::max<int64_t>(1, 32768 / (n * width)), [&](int64_t begin, int64_t end) {
    const Scratch memory(static_cast<size_t>((used + 1) * width) * sizeof(A));
    A* const acc = reinterpret_cast<A*>(memory.data());
    A* const result = acc + used * width;
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t line = unit / strips, first = unit % strips * width,
                    count = std::min(width, cols - first);
      std::fill_n(acc, used * width, R::template start<A>());
      const T* p = src + s.offset(line * cols) + first;
      s.runs([&](int64_t offset, int64_t stride, int64_t rows, int64_t at) {
        if (fast) return fast->rows(acc, width, p + offset, stride, rows, count, at);
        for (int64_t r = 0; r < rows; ++r) {
          A* const a = acc + (at + r) % 64 * width;
          const T* const x = p + offset + r * stride;
          for (int64_t c = 0; c < count; ++c) a[c] = R::template join<A>(a[c], widen(x[c]));
        }
      });
      if (fast) {
        fast->fold(acc, width, n, count, result);
      } else {
        for (int64_t c = 0; c < count; ++c) {
          A total[64];
          std::fill_n(total, 64, R::template start<A>());
          for (int64_t j = 0; j < used; ++j) total[j] = acc[j * width + c];
          result[c] = tree<A, R>(total);
        }
      }
      for (int64_t c = 0; c < count; ++c) dst[line * cols + first + c] = narrow<T>(result[c]);
    }
  });
}

template <class T, class R>
void reduce_as(const Call& c) {
  const Split s(c.in[0], c.attr<ReduceAttrs>().axes);
  const T* src = c.in[0].as<T>();
  T* dst = c.out[0].as<T>();
  if (c.out[0].numel() == 0) return;
  const kernels::ReduceFns* fast = nullptr;
  if constexpr (std::is_floating_point_v<Wide<T>>) fast = kernels::reduce_fns(R::kJoin, c.in[0].dtype);
  if (!s.kept.empty() && s.kept_strides.back() == 1 && s.kept.back() >= 16 && s.reduced.numel() > 1 &&
      (s.reduced_strides.back() != 1 || s.reduced.back() < 16))
    return reduce_columns<T, R>(s, src, dst, fast);
  const bool one_run = s.reduced.ndim() == 1 && s.reduced_strides[0] == 1;
  each_output(c.out[0], s.reduced.numel(), [&](int64_t i) {
    const T* p = src + s.offset(i);
    if constexpr (std::is_floating_point_v<Wide<T>>) {
      if (one_run) {
        Wide<T> total;
        fast->run(p, s.reduced[0], &total);
        dst[i] = narrow<T>(total);
        return;
      }
    }
    Lanes<Wide<T>, R> lanes(fast);
    s.runs(
        [&](int64_t offset, int64_t stride, int64_t n, int64_t at) { lanes.add(p + offset, stride, n, at); });
    dst[i] = narrow<T>(lanes.total());
  });
}

template <class R>
void reduce_number(const Call& c) {
  with_number(c.in[0].dtype, [&](auto t) { reduce_as<decltype(t), R>(c); });
}
template <class R>
void reduce_real(const Call& c) {
  with_real(c.in[0].dtype, [&](auto t) { reduce_as<decltype(t), R>(c); });
}

template <class T>
bool truth(T v) {
  return widen(v) != Wide<T>(0);
}
template <bool kAny>
void reduce_bool(const Call& c) {
  const Split s(c.in[0], c.attr<ReduceAttrs>().axes);
  uint8_t* dst = c.out[0].as<uint8_t>();
  with_number(c.in[0].dtype, [&](auto tag) {
    using T = decltype(tag);
    each_output(c.out[0], s.reduced.numel(), [&](int64_t i) {
      const T* p = c.in[0].as<T>() + s.offset(i);
      bool found = false;  // a true one for any, a false one for all
      s.runs([&](int64_t offset, int64_t stride, int64_t n, int64_t) {
        for (int64_t k = 0; k < n && !found; ++k) found = truth(p[offset + k * stride]) == kAny;
      });
      dst[i] = found == kAny;
    });
  });
}

template <bool kMax>
void arg_extreme(const Call& c) {
  const Split s(c.in[0], {c.attr<ArgReduceAttrs>().axis});
  const kernels::ReduceFns* const fast =
      kernels::reduce_fns(kMax ? kernels::Join::Max : kernels::Join::Min, c.in[0].dtype);
  with_real(c.in[0].dtype, [&](auto tag) {
    using T = decltype(tag);
    each_output(c.out[0], s.reduced.numel(), [&](int64_t i) {
      const T* p = c.in[0].as<T>() + s.offset(i);
      Wide<T> best{};
      int32_t where = 0;
      bool first = true;
      if constexpr (std::is_floating_point_v<Wide<T>>) {
        // The extreme of each stretch by vectors; the place is looked for once, in the stretch that has it.
        if (fast && s.reduced.ndim() == 1 && s.reduced_strides[0] == 1) {
          constexpr int64_t kStretch = 1024;
          int64_t begin = 0;
          for (int64_t at = 0; at < s.reduced[0] && !is_nan(best); at += kStretch) {
            Wide<T> v;
            fast->run(p + at, std::min(kStretch, s.reduced[0] - at), &v);
            if (!first && !is_nan(v) && !(kMax ? v > best : v < best)) continue;
            best = v;
            begin = at;
            first = false;
          }
          const auto is_best = [&](const T& e) { return is_nan(best) ? is_nan(widen(e)) : widen(e) == best; };
          c.out[0].as<int32_t>()[i] =
              static_cast<int32_t>(std::find_if(p + begin, p + s.reduced[0], is_best) - p);
          return;
        }
      }
      s.runs([&](int64_t offset, int64_t stride, int64_t n, int64_t at) {
        for (int64_t k = 0; k < n; ++k) {
          const Wide<T> v = widen(p[offset + k * stride]);
          if (first || (!is_nan(best) && (is_nan(v) || (kMax ? v > best : v < best)))) {
            best = v;
            where = static_cast<int32_t>(at + k);
            first = false;
          }
        }
      });
      c.out[0].as<int32_t>()[i] = where;
    });
  });
}

template <bool kProduct>
void scan(const Call& c) {
  const auto& a = c.attr<ScanAttrs>();
  const Tensor &in = c.in[0], &out = c.out[0];
  const int64_t n = in.shape[a.axis];
  if (out.numel() == 0) return;
  int64_t inner = 1;
  for (int d = a.axis + 1; d < in.shape.ndim(); ++d) inner *= in.shape[d];
  const Split s(in, {a.axis});
  const int64_t stride = n > 1 ? in.strides[a.axis] : 0;
  with_number(in.dtype, [&](auto tag) {
    using T = decltype(tag);
    // Lines side by side: a strip of them row by row.
    if (inner >= 16 && !s.kept.empty() && s.kept_strides.back() == 1 && s.kept.back() % inner == 0) {
      constexpr int64_t kWidth = 512;
      const int64_t strips = (inner + kWidth - 1) / kWidth;
      parallel_for(out.numel() / n / inner * strips, std::max<int64_t>(1, 32768 / (n * kWidth)),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t unit = begin; unit < end; ++unit) {
                       const int64_t outer = unit / strips, first = unit % strips * kWidth,
                                     count = std::min(kWidth, inner - first);
                       const T* const p = in.as<T>() + s.offset(outer * inner + first);
                       T* const q = out.as<T>() + outer * n * inner + first;
                       Wide<T> acc[kWidth];
                       std::fill_n(acc, count, kProduct ? Wide<T>(1) : Wide<T>(0));
                       for (int64_t k = 0; k < n; ++k) {
                         const int64_t i = a.reverse ? n - 1 - k : k;
                         for (int64_t l = 0; l < count; ++l) {
                           acc[l] = wrapping<Wide<T>>(acc[l], widen(p[i * stride + l]), kProduct);
                           q[i * inner + l] = narrow<T>(acc[l]);
                         }
                       }
                     }
                   });
      return;
    }
    parallel_for(out.numel() / n, std::max<int64_t>(1, 32768 / n), [&](int64_t begin, int64_t end) {
      for (int64_t line = begin; line < end; ++line) {
        const T* p = in.as<T>() + s.offset(line);
        T* q = out.as<T>() + line / inner * n * inner + line % inner;
        Wide<T> acc = kProduct ? Wide<T>(1) : Wide<T>(0);
        for (int64_t k = 0; k < n; ++k) {
          const int64_t i = a.reverse ? n - 1 - k : k;
          acc = wrapping<Wide<T>>(acc, widen(p[i * stride]), kProduct);
          q[i * inner] = narrow<T>(acc);
        }
      }
    });
  });
}

constexpr KernelRow kRows[] = {
    {Op::Sum, reduce_number<SumOp>, kAnyStrides}, {Op::Prod, reduce_number<ProdOp>, kAnyStrides},
    {Op::Max, reduce_real<MaxOp>, kAnyStrides},   {Op::Min, reduce_real<MinOp>, kAnyStrides},
    {Op::Any, reduce_bool<true>, kAnyStrides},    {Op::All, reduce_bool<false>, kAnyStrides},
    {Op::ArgMax, arg_extreme<true>, kAnyStrides}, {Op::ArgMin, arg_extreme<false>, kAnyStrides},
    {Op::CumSum, scan<false>, kAnyStrides},       {Op::CumProd, scan<true>, kAnyStrides},
};

}  // namespace

std::span<const KernelRow> reduce_kernels() { return kRows; }

}  // namespace mc::numpy
