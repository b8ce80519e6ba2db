// Host kernels beside the machine's ceilings of the same run: elementwise chains against memcpy, attention
// against FMA. Usage: vmath_bench [quick]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <vector>

#include "backends/numpy/kernels/attention.h"
#include "backends/numpy/kernels/fused.h"
#include "backends/numpy/kernels/pointwise.h"
#include "backends/numpy/simd/dispatch.h"
#include "base/thread_pool.h"
#include "mc/device.h"

using namespace mc;
using namespace mc::kernels;

namespace {

double best_seconds(int runs, const std::function<void()>& f) {
  double best = 1e9;
  for (int i = 0; i < runs; ++i) {
    const auto t = std::chrono::steady_clock::now();
    f();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - t).count());
  }
  return best;
}

void pointwise(size_t n) {
  std::vector<float> x(n), y(n);
  for (size_t i = 0; i < n; ++i) x[i] = static_cast<float>(i % 1000) * 0.01f - 5;
  const int64_t shape[] = {static_cast<int64_t>(n)}, one[] = {1};
  const PwProgram::Operand in[] = {{x.data(), one}};
  void* out[] = {y.data()};
  const double copy = best_seconds(7, [&] {
    parallel_for(static_cast<int64_t>(n), 1 << 20, [&](int64_t b, int64_t e) {
      std::memcpy(y.data() + b, x.data() + b, static_cast<size_t>(e - b) * 4);
    });
  });
  PwProgram chain;
  {
    const float c[] = {2, 1, 0.5f, 0};
    const int v = chain.input(Dtype::F32);
    int t = chain.op(PwOp::Add, chain.op(PwOp::Multiply, v, chain.constant(Dtype::F32, &c[0])),
                     chain.constant(Dtype::F32, &c[1]));
    t = chain.op(PwOp::Subtract, chain.op(PwOp::Multiply, t, v), chain.constant(Dtype::F32, &c[2]));
    chain.output(chain.op(PwOp::Maximum, t, chain.constant(Dtype::F32, &c[3])));
  }
  PwProgram tanh_exp;
  {
    const int v = tanh_exp.input(Dtype::F32);
    tanh_exp.output(tanh_exp.op(PwOp::Exp, tanh_exp.op(PwOp::Tanh, v)));
  }
  const double gb = static_cast<double>(n) * 8e-9;
  std::printf("%zu Mi floats, %d threads: memcpy %.1f GB/s", n >> 20, num_threads(), gb / copy);
  const double t1 = best_seconds(7, [&] { chain.run(in, out, shape); });
  const double t2 = best_seconds(3, [&] { tanh_exp.run(in, out, shape); });
  std::printf(", max(((2x+1)x-0.5),0) %.1f GB/s = %.2f of it, exp(tanh x) %.1f GB/s = %.2f of it\n", gb / t1,
              copy / t1, gb / t2, copy / t2);
}

void math() {
  std::vector<float> x(4096), y(4096);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i) * 0.002f - 4;
  for (size_t i = 0; i < x.size(); ++i) y[i] = std::abs(x[i]) + 0.1f;
  std::printf("ns per float32 element (%s):", simd::isa_name(simd::active_isa()));
  std::vector<float> out(4096);
  for (PwOp op :
       {PwOp::Add, PwOp::Exp, PwOp::Log, PwOp::Tanh, PwOp::Sigmoid, PwOp::Silu, PwOp::Gelu, PwOp::GeluTanh,
        PwOp::Erf, PwOp::Sin, PwOp::Expm1, PwOp::Log1p, PwOp::Power, PwOp::Arctan2}) {
    const TileFn f = tile_fn(op, Dtype::F32);
    const double t = best_seconds(20, [&] {
      for (int k = 0; k < 10; ++k)
        f(y.data(), pw_inputs(op) > 1 ? x.data() : nullptr, nullptr, out.data(), 4096);
    });
    std::printf(" %s %.3f", pw_name(op), t / 40960 * 1e9);
  }
  std::printf("\n");
}

void attend(int64_t H, int64_t Hkv, int64_t T, int64_t S, int64_t D, Dtype kv) {
  const size_t item = itemsize(kv);
  std::vector<float> q(static_cast<size_t>(H * T * D), 0.1f), out(q.size());
  std::vector<uint8_t> k(static_cast<size_t>(Hkv * S * D) * item), v(k.size());
  for (size_t i = 0; i < q.size(); ++i) q[i] = static_cast<float>(i * 7 % 101) * 0.01f;
  std::vector<float> w(static_cast<size_t>(Hkv * S * D));
  for (size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(i * 11 % 103) * 0.01f - 0.5f;
  cast_fn(Dtype::F32, kv)(w.data(), nullptr, nullptr, k.data(), static_cast<int64_t>(w.size()));
  cast_fn(Dtype::F32, kv)(w.data(), nullptr, nullptr, v.data(), static_cast<int64_t>(w.size()));
  AttentionArgs a;
  a.q = q.data(), a.k = k.data(), a.v = v.data(), a.out = out.data(), a.kv_dtype = kv;
  a.heads = H, a.kv_heads = Hkv, a.q_len = T, a.kv_size = S, a.dim = a.v_dim = D;
  a.q_stride[1] = a.out_stride[1] = T * D, a.k_stride[1] = a.v_stride[1] = S * D;
  a.q_stride[2] = a.out_stride[2] = a.k_stride[2] = a.v_stride[2] = D;
  a.scale = 0.125f, a.causal = true;
  const double t = best_seconds(5, [&] { attention(a); });
  double pairs = 0;
  for (int64_t i = 0; i < T; ++i) pairs += static_cast<double>(S - T + i + 1);
  std::printf("attention H=%ld/%ld T=%ld S=%ld D=%ld %s, %d threads: %.3f ms, %.1f GFLOP/s, KV %.1f GB/s\n",
              static_cast<long>(H), static_cast<long>(Hkv), static_cast<long>(T), static_cast<long>(S),
              static_cast<long>(D), std::string(dtype_name(kv)).c_str(), num_threads(), t * 1e3,
              4 * pairs * static_cast<double>(H * D) / t * 1e-9,
              2.0 * static_cast<double>(Hkv * S * D) * static_cast<double>(item) / t * 1e-9);
}

}  // namespace

int main(int argc, char** argv) {
  const bool quick = argc > 1 && std::strcmp(argv[1], "quick") == 0;
  std::vector<simd::Isa> isas;
  for (simd::Isa isa : {simd::Isa::Avx2, simd::Isa::Avx512})
    if (isa <= simd::best_isa()) isas.push_back(isa);
  if (isas.empty()) isas.push_back(simd::Isa::Scalar);
  for (simd::Isa isa : isas) {
    simd::set_isa(isa);
    math();
  }
  for (int threads : {1, 2}) {
    set_num_threads(threads);
    pointwise(quick ? size_t{16} << 20 : size_t{64} << 20);
    for (simd::Isa isa : isas) {
      simd::set_isa(isa);
      std::printf("[%s] ", simd::isa_name(isa));
      attend(9, 3, 512, 512, 64, Dtype::F32);
    }
    attend(4, 1, 512, 512, 256, Dtype::F32);
    for (int64_t s : {256, 1024, 8192}) {
      attend(9, 3, 1, s, 64, Dtype::F32);
      attend(4, 1, 1, s, 256, Dtype::F32);
    }
    attend(9, 3, 1, 8192, 64, Dtype::BF16);
  }
}
