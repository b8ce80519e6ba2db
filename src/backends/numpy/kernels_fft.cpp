// Fourier transforms of rows, in float64 whatever the dtype: mixed radices of Stockham's kind for lengths of
// small factors, Bluestein's convolution for others. A row's bits depend on the row and its length only.
#include <algorithm>
#include <cmath>
#include <complex>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "backends/numpy/kernel.h"
#include "backends/numpy/kernels/pointwise.h"
#include "base/thread_pool.h"
#include "prims/attrs.h"

namespace mc::numpy {
namespace {

struct Z {
  double re, im;
};
Z operator+(Z a, Z b) { return {a.re + b.re, a.im + b.im}; }
Z operator-(Z a, Z b) { return {a.re - b.re, a.im - b.im}; }
Z operator*(Z a, Z b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
Z conj(Z a) { return {a.re, -a.im}; }

// exp(-2πi·k/n) for k < n: angles of the first eighth of the circle, by our own sine and cosine.
std::vector<Z> roots(int64_t n) {
  std::vector<double> angle(static_cast<size_t>(n)), s(angle.size()), c(angle.size());
  auto fold = [n](int64_t k, int64_t* eighth) {
    *eighth = 8 * k / n;
    const int64_t r = 8 * k - *eighth * n;  // of an eighth, in units of 1/(8n)
    return *eighth % 2 == 0 ? r : n - r;    // odd ones are mirrored
  };
  int64_t eighth = 0;
  for (int64_t k = 0; k < n; ++k)
    angle[static_cast<size_t>(k)] =
        static_cast<double>(fold(k, &eighth)) / static_cast<double>(n) * 0.78539816339744830961566;
  kernels::tile_fn(kernels::PwOp::Sin, Dtype::F64)(angle.data(), nullptr, nullptr, s.data(), n);
  kernels::tile_fn(kernels::PwOp::Cos, Dtype::F64)(angle.data(), nullptr, nullptr, c.data(), n);
  std::vector<Z> out(static_cast<size_t>(n));
  for (int64_t k = 0; k < n; ++k) {
    fold(k, &eighth);
    const double x = c[static_cast<size_t>(k)], y = s[static_cast<size_t>(k)];
    const Z of[8] = {{x, -y}, {y, -x}, {-y, -x}, {-x, -y}, {-x, y}, {-y, x}, {y, x}, {x, y}};
    out[static_cast<size_t>(k)] = of[eighth];
  }
  return out;
}

constexpr int64_t kLargestFactor = 61;

class Plan {
 public:
  explicit Plan(int64_t n) : n_(n), root_(roots(n)) {
    int64_t rest = n;
    for (int64_t f : {4, 2, 3, 5})
      while (rest % f == 0) factors_.push_back(f), rest /= f;
    for (int64_t f = 7; f <= kLargestFactor && rest > 1; f += 2)
      while (rest % f == 0) factors_.push_back(f), rest /= f;
    if (rest == 1) return;
    factors_.clear();
    // x_j·w^(j²/2) convolved with w^(-j²/2), w = exp(-2πi/n).
    int64_t m = 1;
    while (m < 2 * n - 1) m *= 2;
    inner_ = std::make_unique<Plan>(m);
    const std::vector<Z> half = roots(2 * n);
    chirp_.resize(static_cast<size_t>(n));
    kernel_.assign(static_cast<size_t>(m), {0, 0});
    for (int64_t j = 0, square = 0; j < n; ++j) {  // j² modulo 2n
      chirp_[static_cast<size_t>(j)] = half[static_cast<size_t>(square)];
      kernel_[static_cast<size_t>(j)] = conj(chirp_[static_cast<size_t>(j)]);
      if (j) kernel_[static_cast<size_t>(m - j)] = kernel_[static_cast<size_t>(j)];
      square = (square + 2 * j + 1) % (2 * n);
    }
    std::vector<Z> work(static_cast<size_t>(inner_->work()));
    inner_->forward(kernel_.data(), work.data());
  }
  // Numbers of scratch that forward() needs.
  int64_t work() const { return inner_ ? inner_->n_ + inner_->work() : n_; }

  // x (n numbers) becomes its sums over exp(-2πi·jk/n).
  void forward(Z* x, Z* work) const {
    if (inner_) return convolve(x, work);
    Z *from = x, *to = work;
    int64_t stride = 1, left = n_;
    for (int64_t f : factors_) {
      left /= f;
      pass(f, left, stride, from, to);
      std::swap(from, to);
      stride *= f;
    }
    if (from != x) std::copy_n(from, n_, x);
  }

 private:
  // from holds (f, left, stride), to gets (left, f, stride): each group of f numbers is transformed and
  // turned by exp(-2πi·p·k/(f·left)).
  void pass(int64_t f, int64_t left, int64_t stride, const Z* from, Z* to) const {
    const int64_t step = left * stride, turn = n_ / (f * left);
    for (int64_t p = 0; p < left; ++p) {
      Z w[kLargestFactor];
      for (int64_t k = 0; k < f; ++k) w[k] = root_[static_cast<size_t>(p * k * turn)];
      const Z* in = from + p * stride;
      Z* out = to + p * f * stride;
      switch (f) {
        case 2:
          for (int64_t q = 0; q < stride; ++q) {
            const Z a = in[q], b = in[q + step];
            out[q] = a + b;
            out[q + stride] = (a - b) * w[1];
          }
          break;
        case 3:
          for (int64_t q = 0; q < stride; ++q) {
            const Z a = in[q], b = in[q + step], c = in[q + 2 * step];
            const Z s = b + c, d = b - c, m = {a.re - 0.5 * s.re, a.im - 0.5 * s.im};
            const Z t = {kSin3 * d.im, -kSin3 * d.re};
            out[q] = a + s;
            out[q + stride] = (m + t) * w[1];
            out[q + 2 * stride] = (m - t) * w[2];
          }
          break;
        case 4:
          for (int64_t q = 0; q < stride; ++q) {
            const Z a = in[q], b = in[q + step], c = in[q + 2 * step], d = in[q + 3 * step];
            const Z ac = a + c, bd = b + d, a_c = a - c, b_d = b - d, t = {b_d.im, -b_d.re};
            out[q] = ac + bd;
            out[q + stride] = (a_c + t) * w[1];
            out[q + 2 * stride] = (ac - bd) * w[2];
            out[q + 3 * stride] = (a_c - t) * w[3];
          }
          break;
        default:
          for (int64_t q = 0; q < stride; ++q)
            for (int64_t k = 0; k < f; ++k) {
              Z sum = in[q];
              for (int64_t j = 1; j < f; ++j)
                sum = sum + in[q + j * step] * root_[static_cast<size_t>(j * k % f * (n_ / f))];
              out[q + k * stride] = sum * w[k];
            }
      }
    }
  }
  void convolve(Z* x, Z* work) const {
    const int64_t m = inner_->n_;
    Z* const y = work;
    for (int64_t j = 0; j < n_; ++j) y[j] = x[j] * chirp_[static_cast<size_t>(j)];
    std::fill(y + n_, y + m, Z{0, 0});
    inner_->forward(y, work + m);
    for (int64_t j = 0; j < m; ++j) y[j] = conj(y[j] * kernel_[static_cast<size_t>(j)]);
    inner_->forward(y, work + m);
    const double scale = 1.0 / static_cast<double>(m);  // a power of two
    for (int64_t j = 0; j < n_; ++j) {
      const Z z = conj(y[j]) * chirp_[static_cast<size_t>(j)];
      x[j] = {z.re * scale, z.im * scale};
    }
  }

  static constexpr double kSin3 = 0.86602540378443864676;
  int64_t n_;
  std::vector<Z> root_;
  std::vector<int64_t> factors_;
  std::unique_ptr<Plan> inner_;
  std::vector<Z> chirp_, kernel_;
};

std::shared_ptr<const Plan> plan_of(int64_t n) {
  static std::mutex mutex;
  static auto* plans = new std::map<int64_t, std::shared_ptr<const Plan>>;
  std::lock_guard lock(mutex);
  auto& p = (*plans)[n];
  if (!p) {
    if (plans->size() > 32) {
      plans->clear();
      return (*plans)[n] = std::make_shared<const Plan>(n);
    }
    p = std::make_shared<const Plan>(n);
  }
  return p;
}

template <class R>
void transform(const Call& c, const FftAttrs& a) {
  const int64_t n = a.n, half = n / 2 + 1, rows = c.out[0].numel() / c.out[0].shape.back();
  const std::shared_ptr<const Plan> plan = plan_of(n);
  parallel_for(rows, std::max<int64_t>(1, 8192 / n), [&](int64_t begin, int64_t end) {
    std::vector<Z> x(static_cast<size_t>(n)), work(static_cast<size_t>(plan->work()));
    for (int64_t row = begin; row < end; ++row) {
      const R* in = c.in[0].as<R>();
      R* out = c.out[0].as<R>();
      auto term = [&](const R* p, int64_t k) {
        return Z{static_cast<double>(p[2 * k]), static_cast<double>(p[2 * k + 1])};
      };
      // An inverse is the forward one between conjugates.
      switch (a.kind) {
        case FftAttrs::Forward:
          for (int64_t k = 0; k < n; ++k) x[static_cast<size_t>(k)] = term(in + 2 * row * n, k);
          break;
        case FftAttrs::Inverse:
          for (int64_t k = 0; k < n; ++k) x[static_cast<size_t>(k)] = conj(term(in + 2 * row * n, k));
          break;
        case FftAttrs::Real:
          for (int64_t k = 0; k < n; ++k)
            x[static_cast<size_t>(k)] = {static_cast<double>(in[row * n + k]), 0};
          break;
        default: {
          const R* from = in + 2 * row * half;
          x[0] = {static_cast<double>(from[0]), 0};
          for (int64_t k = 1; k < half; ++k) {
            const Z z = term(from, k);
            x[static_cast<size_t>(k)] = 2 * k == n ? Z{z.re, 0} : conj(z);
            if (2 * k != n) x[static_cast<size_t>(n - k)] = z;
          }
        }
      }
      plan->forward(x.data(), work.data());
      if (a.kind == FftAttrs::ToReal) {
        for (int64_t k = 0; k < n; ++k) out[row * n + k] = static_cast<R>(x[static_cast<size_t>(k)].re);
        continue;
      }
      const int64_t count = a.kind == FftAttrs::Real ? half : n;
      const double sign = a.kind == FftAttrs::Inverse ? -1 : 1;
      for (int64_t k = 0; k < count; ++k) {
        const Z z = x[static_cast<size_t>(k)];
        out[2 * (row * count + k)] = static_cast<R>(z.re);
        out[2 * (row * count + k) + 1] = static_cast<R>(sign * z.im);
      }
    }
  });
}

void fft(const Call& c) {
  if (c.out[0].numel() == 0) return;
  const auto& a = c.attr<FftAttrs>();
  if (itemsize(real_dtype(c.in[0].dtype)) == 4)
    transform<float>(c, a);
  else
    transform<double>(c, a);
}

constexpr KernelRow kRows[] = {{Op::Fft, fft}};

}  // namespace

std::span<const KernelRow> fft_kernels() { return kRows; }

}  // namespace mc::numpy
