// What can be tested of the CUDA engine without a GPU: its library loads, a machine without a driver gets the
// reason and the fix, and everything that the generator writes is accepted by NVRTC.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <random>

#include "mc/detail/str.h"
#include "mc/mc.h"
#include "mc/quantize.h"
#include "runtime/registry.h"

namespace mc {
namespace {

std::filesystem::path engine_file() {
  Dl_info here;
  if (!dladdr(reinterpret_cast<const void*>(&backend_status), &here)) return {};
  return std::filesystem::weakly_canonical(here.dli_fname).parent_path() / "libmc_engine_cuda.so";
}

TEST(CudaEngine, IsThereOrSaysWhyNot) {
  if (!std::filesystem::exists(engine_file()))
    GTEST_SKIP() << "this build has no CUDA engine: nvcc is not installed";
  for (const BackendStatus& s : backend_status()) {
    if (s.name != "cuda") continue;
    if (s.available) {
      EXPECT_FALSE(s.devices.empty());
      return;
    }
    EXPECT_NE(s.message.find("CUDA is required for the CUDA backend: "), std::string::npos) << s.message;
    EXPECT_FALSE(s.fix.empty());
    EXPECT_THROW(parse_device("cuda"), Error);
    return;
  }
  FAIL() << "no row is named cuda";
}

TEST(CudaEngine, GeneratedKernelsCompile) {
  if (!std::filesystem::exists(engine_file()))
    GTEST_SKIP() << "this build has no CUDA engine: nvcc is not installed";
  void* library = dlopen(engine_file().c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << dlerror();
  const auto compile =
      reinterpret_cast<int (*)(int, char*, size_t)>(dlsym(library, "mc_cuda_compile_samples"));
  ASSERT_NE(compile, nullptr);
  static char log[65536];
  const int n = compile(80, log, sizeof log);
  if (n < 0 && std::string_view(log).find("can't be loaded") != std::string_view::npos)
    GTEST_SKIP() << "NVRTC is not installed";
  EXPECT_GT(n, 50) << log;
}

// Shapes whose rows are copied in bulk, and some whose rows are not, alone and as a decoding step joins them:
// the norm before, the gate or the sum after.
TEST(CudaEngine, FourBitProductsOfOneVector) {
  if (!std::filesystem::exists(engine_file()))
    GTEST_SKIP() << "this build has no CUDA engine: nvcc is not installed";
  for (const BackendStatus& s : backend_status())
    if (s.name == "cuda" && !s.available) GTEST_SKIP() << s.message;
  const Device gpu = parse_device("cuda");
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  auto numbers = [&](int64_t rows, int64_t cols, float scale) {
    std::vector<float> v(static_cast<size_t>(rows * cols));
    for (float& f : v) f = scale * normal(random);
    return v;
  };
  struct Case {
    int64_t rows, cols;
    int group;
    Dtype dtype;
  };
  for (const Case& c : {Case{2128, 4096, 64, Dtype::BF16}, Case{4096, 2048, 64, Dtype::BF16},
                        Case{2128, 14336, 64, Dtype::F16}, Case{2144, 2560, 64, Dtype::BF16},
                        Case{8 * 1000, 1024, 64, Dtype::F16}, Case{4256, 4096, 64, Dtype::F16},
                        Case{48, 4096, 128, Dtype::BF16}, Case{40, 576, 64, Dtype::BF16}}) {
    SCOPED_TRACE(testing::Message() << c.rows << " x " << c.cols << ", groups of " << c.group);
    QTensor w[3];
    std::vector<double> exact[3];
    for (int i = 0; i < 3; ++i) {
      const std::vector<float> v = numbers(c.rows, c.cols, 0.02f);
      w[i] = quantize_affine(astype(Array(v, {c.rows, c.cols}), c.dtype), c.group);
      exact[i] = astype(dequantize(QTensor{w[i].kind,
                                           w[i].shape,
                                           {w[i].parts[0], astype(w[i].parts[1], Dtype::F32),
                                            astype(w[i].parts[2], Dtype::F32)},
                                           w[i].bits,
                                           w[i].group,
                                           w[i].format}),
                        Dtype::F64)
                     .to_vector<double>();
      for (Array& part : w[i].parts) part = to_device(part, gpu);
    }
    const std::vector<float> xs = numbers(1, c.cols, 1.0f), ns = numbers(1, c.cols, 0.1f),
                             rs = numbers(1, c.rows, 1.0f);
    const Array x = to_device(astype(Array(xs, {1, c.cols}), Dtype::BF16), gpu);
    const Array norm = to_device(Array(ns, {c.cols}) + 1.0, gpu);
    const Array rest = to_device(astype(Array(rs, {1, c.rows}), Dtype::BF16), gpu);
    auto host = [](const Array& a) { return astype(a, Dtype::F64).to_vector<double>(); };
    const Function steps = compile([&](const Arrays& a) {
      const Array y = rms_norm(a[0], a[1], 1e-5);
      return Arrays{quantized_matmul(a[0], w[0]),
                    swiglu(quantized_matmul(y, w[0]), quantized_matmul(y, w[1])),
                    a[2] + quantized_matmul(a[0], w[2])};
    });
    const Arrays got = steps({x, norm, rest});
    const std::vector<double> lone = host(got[0]), gated = host(got[1]), summed = host(got[2]), xh = host(x),
                              yh = host(rms_norm(x, norm, 1e-5)), rh = host(rest);
    auto dot = [&](int i, const std::vector<double>& v, int64_t row, double& size) {
      double s = 0;
      size = 0;
      for (int64_t k = 0; k < c.cols; ++k) {
        const double p = exact[i][static_cast<size_t>(row * c.cols + k)] * v[static_cast<size_t>(k)];
        s += p;
        size += std::abs(p);
      }
      return s;
    };
    // A sum's float32 roundings, of codes raised by 128 (16 times their size), and one to bfloat16 each.
    auto near = [](double v, double want, double size) {
      return std::abs(v - want) <= 0x1p-8 * std::abs(want) + 0x1p-17 * size;
    };
    for (int64_t r = 0; r < c.rows; ++r) {
      const auto at = static_cast<size_t>(r);
      double size[4];
      const double d = dot(0, xh, r, size[0]), gate = dot(0, yh, r, size[1]), up = dot(1, yh, r, size[2]),
                   last = dot(2, xh, r, size[3]);
      ASSERT_TRUE(near(lone[at], d, size[0])) << r << ": " << lone[at] << " is not " << d;
      const double want = gate / (1 + std::exp(-gate)) * up;
      // Each factor is off by its own rounding.
      ASSERT_LE(std::abs(gated[at] - want), 0x1p-6 * std::abs(want) + 0x1p-15 * (size[1] + size[2]))
          << r << ": " << gated[at] << " is not " << want;
      ASSERT_LE(std::abs(summed[at] - (rh[at] + last)),
                0x1p-8 * (std::abs(rh[at] + last) + std::abs(last)) + 0x1p-17 * size[3])
          << r << ": " << summed[at];
    }
  }
}

bool no_gpu(std::string& why) {
  why = "this build has no CUDA engine: nvcc is not installed";
  if (!std::filesystem::exists(engine_file())) return true;
  for (const BackendStatus& s : backend_status())
    if (s.name == "cuda") {
      why = s.message;
      return !s.available;
    }
  return true;
}
std::vector<std::byte> bytes_of(const Array& a) {
  std::vector<std::byte> out(a.nbytes());
  a.to_bytes(out.data());
  return out;
}
QTensor on(const Device& device, QTensor w) {
  for (Array& part : w.parts) part = to_device(part, device);
  return w;
}

struct Weights {
  std::mt19937 random{11};
  std::vector<float> numbers(int64_t n, float scale = 1) {
    std::normal_distribution<float> normal;
    std::vector<float> v(static_cast<size_t>(n));
    for (float& f : v) f = scale * normal(random);
    return v;
  }
  QTensor affine(int bits, int64_t rows, int64_t cols, int group, Dtype dtype) {
    return quantize_affine(astype(Array(numbers(rows * cols, 0.05f), {rows, cols}), dtype), group, bits);
  }
  // Any bytes are a block, but for scales that are not finite.
  QTensor blocks(BlockFormat f, int64_t rows, int64_t cols) {
    const int64_t size = block_bytes(f), count = rows * cols / block_elements(f);
    std::vector<uint8_t> b(static_cast<size_t>(count * size));
    for (uint8_t& v : b) v = static_cast<uint8_t>(random());
    for (int64_t i = 0; i < count; ++i) {
      uint8_t* at = b.data() + i * size;
      auto tame = [](uint8_t& high) { high = static_cast<uint8_t>((high & 0x83) | 0x20); };
      if (f == BlockFormat::Q6_K) {
        tame(at[209]);
        continue;
      }
      tame(at[1]);
      if (f == BlockFormat::Q4_1 || f == BlockFormat::Q5_1 || f == BlockFormat::Q4_K ||
          f == BlockFormat::Q5_K)
        tame(at[3]);
    }
    return block_tensor(Array::from_bytes(reinterpret_cast<const std::byte*>(b.data()),
                                          {rows, count / rows * size}, Dtype::U8),
                        f, {rows, cols});
  }
};

// More rows than one, a tile of 32 and one of 128 have; rows of the weight and blocks of a row that no tile
// and no stage has whole; a mask over them.
TEST(CudaEngine, FastProductsHaveTheBitsOfTheHostEngine) {
  std::string why;
  if (no_gpu(why)) GTEST_SKIP() << why;
  const Device host = parse_device("numpy"), gpu = parse_device("cuda");
  Weights make;
  std::vector<QTensor> weights;
  for (int bits : {2, 3, 4, 5, 6, 8})
    for (const auto& [cols, group] : {std::pair{160, 32}, {576, 64}, {1024, 128}})
      weights.push_back(make.affine(bits, 100, cols, group, bits % 2 ? Dtype::BF16 : Dtype::F32));
  for (BlockFormat f :
       {BlockFormat::Q4_0, BlockFormat::Q4_1, BlockFormat::Q5_0, BlockFormat::Q5_1, BlockFormat::Q8_0})
    for (int64_t cols : {32, 160, 576}) weights.push_back(make.blocks(f, 100, cols));
  for (BlockFormat f : {BlockFormat::Q4_K, BlockFormat::Q5_K, BlockFormat::Q6_K})
    weights.push_back(make.blocks(f, 131, 512));
  for (const QTensor& w : weights)
    for (int64_t m : {1, 3, 9, 45, 300})
      for (Dtype d : {Dtype::F32, Dtype::BF16, Dtype::F16}) {
        SCOPED_TRACE(testing::Message()
                     << (w.kind == QTensor::Kind::Affine ? cat("affine ", w.bits)
                                                         : std::string(block_format_name(w.format)))
                     << " " << w.shape.str() << ", " << m << " rows of " << dtype_name(d));
        const int64_t cols = w.shape[1];
        std::vector<float> v = make.numbers(m * cols);
        std::fill_n(v.begin(), 32, 0.0f);
        if (m > 3) v[static_cast<size_t>(2 * cols + 5)] = INFINITY;
        std::vector<int32_t> named(static_cast<size_t>(m));
        for (int32_t& n : named) n = make.random() % 3 == 0;
        const Array x = to_device(astype(Array(v, {m, cols}), d), host),
                    mask = to_device(astype(Array(named, {m}), Dtype::Bool), host);
        const QTensor here = on(host, w), there = on(gpu, w);
        auto all = [&](const Array& a, const Array& rows, const QTensor& q) {
          // Which NaN a NaN is does not count.
          auto plain = [](const Array& y) {
            return bytes_of(where(isnan(y), full(y.shape(), 7.0, y.dtype()), y));
          };
          return std::pair{plain(quantized_matmul(a, q, true)),
                           plain(quantized_matmul_where(rows, a, q, true))};
        };
        const auto want = all(x, mask, here), got = all(to_device(x, gpu), to_device(mask, gpu), there);
        ASSERT_EQ(want.first == got.first, true);
        ASSERT_EQ(want.second == got.second, true) << "with a mask";
      }
}

// Of few rows those that a mask names have the product's bits, the others are zeros; a NaN that nobody asked
// for is not read.
TEST(CudaEngine, WhereProductsOfFewRows) {
  std::string why;
  if (no_gpu(why)) GTEST_SKIP() << why;
  const Device gpu = parse_device("cuda");
  Weights make;
  std::vector<QTensor> weights = {
      make.affine(4, 2128, 4096, 64, Dtype::BF16), make.affine(4, 2144, 1024, 64, Dtype::F16),
      make.affine(4, 40, 576, 32, Dtype::F32),     make.affine(8, 33, 256, 64, Dtype::F32),
      make.blocks(BlockFormat::Q4_1, 768, 1536),   make.blocks(BlockFormat::Q8_0, 77, 96)};
  weights.push_back(
      block_tensor(Array::from_bytes(reinterpret_cast<const std::byte*>(make.numbers(96 * 64).data()),
                                     {96, 256}, Dtype::U8),
                   BlockFormat::F32, {96, 64}));
  for (const QTensor& w : weights) {
    const QTensor q = on(gpu, w);
    for (int64_t m : {1, 2, 5, 8})
      for (Dtype d : {Dtype::BF16, Dtype::F32, Dtype::F16}) {
        SCOPED_TRACE(testing::Message() << w.shape.str() << ", " << m << " rows of " << dtype_name(d));
        const Array x = to_device(astype(Array(make.numbers(m * w.shape[1]), {m, w.shape[1]}), d), gpu);
        const std::vector<double> whole = astype(quantized_matmul(x, q), Dtype::F64).to_vector<double>();
        double largest = 0;
        for (double v : whole) largest = std::max(largest, std::abs(v));
        for (unsigned bits : {0x0u, 0x1u, 0x2u, 0x55u, 0xFFu}) {
          std::vector<int32_t> named;
          for (int64_t r = 0; r < m; ++r) named.push_back(bits >> r & 1);
          const Array mask = to_device(astype(Array(named, {m}), Dtype::Bool), gpu);
          const std::vector<double> got =
              astype(quantized_matmul_where(mask, x, q), Dtype::F64).to_vector<double>();
          for (size_t i = 0; i < got.size(); ++i) {
            const bool asked = named[i / static_cast<size_t>(w.shape[0])];
            // Other kernels add in another order.
            const double room = asked ? 0x1p-6 * std::abs(whole[i]) + 0x1p-14 * largest : 0;
            ASSERT_LE(std::abs(got[i] - (asked ? whole[i] : 0)), room)
                << "mask " << bits << ", element " << i;
          }
        }
      }
  }
}

}  // namespace
}  // namespace mc
