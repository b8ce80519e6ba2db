// What can be tested of the CUDA engine without a GPU: its library loads, a machine without a driver gets the
// reason and the fix, and everything that the generator writes is accepted by NVRTC.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <random>

#include "mc/mc.h"
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

}  // namespace
}  // namespace mc
