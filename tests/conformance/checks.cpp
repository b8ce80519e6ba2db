#include "checks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "mc/device.h"
#include "mc/ops.h"
#include "mc/transforms.h"
#include "prims/attrs.h"

namespace mc::conformance {
namespace {

using F64s = std::vector<double>;

Arrays run_op(const Case& c, const Inputs& in, const Arrays& stored) {
  return apply(c.def->op, in.view(stored), c.sample.attrs);
}
Function op_function(const Case& c, const Inputs& in) {
  return [&c, &in](const Arrays& stored) { return run_op(c, in, stored); };
}

std::vector<std::byte> bytes_of(const Array& a) {
  std::vector<std::byte> out(a.nbytes());
  if (!out.empty()) a.to_bytes(out.data());
  return out;
}
// Real and imaginary parts as doubles.
F64s numbers(const Array& a) {
  if (is_complex(a.dtype())) {
    F64s out = numbers(real(a));
    const F64s im = numbers(imag(a));
    out.insert(out.end(), im.begin(), im.end());
    return out;
  }
  return astype(a, Dtype::F64).to_vector<double>();
}
double largest(const F64s& v) {
  double m = 0;
  for (double x : v)
    if (std::isfinite(x)) m = std::max(m, std::abs(x));
  return m;
}

std::string same_aval(const Array& got, const Array& want) {
  if (got.shape() == want.shape() && got.dtype() == want.dtype()) return {};
  return cat("got ", dtype_name(got.dtype()), got.shape().str(), ", expected ", dtype_name(want.dtype()),
             want.shape().str());
}
std::string same_bits(const Arrays& got, const Arrays& want) {
  for (size_t o = 0; o < want.size(); ++o) {
    if (std::string e = same_aval(got[o], want[o]); !e.empty()) return e;
    const auto g = bytes_of(got[o]), w = bytes_of(want[o]);
    if (g == w) continue;
    const size_t size = itemsize(want[o].dtype());
    for (size_t i = 0; i < w.size(); i += size)
      if (std::memcmp(&g[i], &w[i], size) != 0)
        return cat("output ", o, " differs in its bits first at element ", i / size, ": ",
                   numbers(got[o])[i / size], " against ", numbers(want[o])[i / size]);
  }
  return {};
}
// |got - want| <= bound·max(1, |want|max) at every element: the values that go in are of order 1.
std::string close(const Arrays& got, const Arrays& want, double bound) {
  for (size_t o = 0; o < want.size(); ++o) {
    if (std::string e = same_aval(got[o], want[o]); !e.empty()) return e;
    const F64s g = numbers(got[o]), w = numbers(want[o]);
    const double scale = std::max(1.0, largest(w));
    for (size_t i = 0; i < w.size(); ++i) {
      if (std::isnan(w[i]) ? std::isnan(g[i]) : g[i] == w[i]) continue;
      if (!(std::abs(g[i] - w[i]) <= bound * scale))
        return cat("output ", o, " at element ", i, ": ", g[i], " against ", w[i], ", bound ", bound * scale);
    }
  }
  return {};
}
double eps_of(const Arrays& arrays) {
  double e = 0;
  for (const Array& a : arrays)
    if (is_inexact(a.dtype())) e = std::max(e, finfo(real_dtype(a.dtype())).eps);
  return e;
}

// One case per operation, sample and layout is enough where the rule does not look at the dtype: the most
// exact.
bool widest(const Case& c) {
  const uint32_t set = c.def->samples.dtypes;
  for (Dtype d : {Dtype::F64, Dtype::F32, Dtype::I32, Dtype::C128, Dtype::Bool})
    if (in_set(d, set))
      return c.swept == d || std::none_of(c.sample.fixed.begin(), c.sample.fixed.end(),
                                          [](auto f) { return !f; }) == !c.sample.fixed.empty();
  return true;
}
bool structural(const Case& c) { return c.layout != Layout::Large && c.layout != Layout::Special; }

// --- vjp

// complex128, or complex64 on an engine that lacks it.
Dtype wide_complex() { return default_device().backend->has_dtype(Dtype::C128) ? Dtype::C128 : Dtype::C64; }

// Re Σ conj(w)·y over the outputs: a real number whose gradient with respect to a complex x is one complex
// number.
Array weighted(const Arrays& outputs, uint64_t seed) {
  Array total = scalar(0.0, Dtype::F64);
  for (size_t o = 0; o < outputs.size(); ++o) {
    const Array& y = outputs[o];
    if (!is_inexact(y.dtype())) continue;
    const Dtype wide = is_complex(y.dtype()) ? wide_complex() : Dtype::F64;
    // What lies outside an indexed array is NaN and has no gradient.
    const Array finite = where(isfinite(y), y, zeros_like(y));
    total = total + sum(real(conj(draw_like(y.shape(), wide, seed + o)) * astype(finite, wide)));
  }
  return total;
}

// The same numbers in memory that belongs to no engine.
Arrays unbound(const Arrays& arrays) {
  Arrays out;
  for (const Array& a : arrays) out.push_back(Array::from_bytes(bytes_of(a).data(), a.shape(), a.dtype()));
  return out;
}

// The inputs that have a gradient.
std::vector<int> differentiated(const Case& c) {
  std::vector<int> out;
  for (size_t i = 0; i < c.dtypes.size(); ++i)
    if (is_inexact(c.dtypes[i])) out.push_back(static_cast<int>(i));
  return out;
}

Arrays gradients(const Case& c, const Inputs& in, const Arrays& stored, uint64_t seed) {
  const std::vector<int> argnums = differentiated(c);
  return grad([&](const Arrays& a) { return Arrays{weighted(run_op(c, in, a), seed)}; }, argnums)(stored);
}

// Gradients along random directions against central differences, in the widest dtype that the operation has.
std::string finite_differences(const Case& c, const Context& ctx, const Inputs& in, uint64_t seed) {
  const Arrays g = gradients(c, in, in.stored, seed);
  double eps = 0;
  for (const Array& a : run_op(c, in, in.stored))
    if (is_inexact(a.dtype())) eps = std::max(eps, eps_of({a}));
  const std::vector<int> inputs = differentiated(c);
  for (size_t k = 0; k < inputs.size(); ++k) {
    const auto i = static_cast<size_t>(inputs[k]);
    const Array& x = in.stored[i];
    if (std::string e = same_aval(g[k], x); !e.empty()) return cat("gradient of input ", i, ": ", e);
    // The error is h²·f''' + eps·|f|/h; h balances them for derivatives of order 1.
    const bool narrow = std::max(eps, eps_of({x})) > 1e-10;
    const double h = narrow ? 1.0 / 64 : 1e-5, bound = narrow ? 2e-3 : 2e-6;
    for (uint64_t direction = 0; direction < 3; ++direction) {
      const Array v = draw_like(x.shape(), x.dtype(), seed + 1000 * direction + i + 77);
      auto at = [&](double t) {
        Arrays moved = in.stored;
        moved[i] = astype(x + v * t, x.dtype());
        return weighted(run_op(c, in, moved), seed).item<double>();
      };
      const double slope = (at(h) - at(-h)) / (2 * h);
      const double got =
          sum(real(conj(astype(g[k], is_complex(x.dtype()) ? Dtype::C128 : Dtype::F64)) * v)).item<double>();
      const double size = std::abs(slope) + sum(abs(g[k])).item<double>() + std::abs(at(0));
      if (!(std::abs(got - slope) <= bound * (1 + size)))
        return cat("gradient of input ", i, " along direction ", direction, ": ", got, ", differences give ",
                   slope);
    }
  }
  (void)ctx;
  return {};
}

bool vjp_applies(const Case& c) {
  // Half precision without a wide form to compare with has no differences either; float32 stands for it.
  const bool half = c.swept == Dtype::F16 || c.swept == Dtype::BF16;
  if (half && !in_set(Dtype::F64, c.def->samples.dtypes)) return false;
  // `fast` has steps; its gradient is that of the exact product, which the cases without it have.
  if ((c.def->op == Op::QuantizedMatmul || c.def->op == Op::QuantizedMatmulWhere) &&
      c.sample.attrs.as<QuantAttrs>().fast)
    return false;
  // The gradient of a decomposition divides by differences: small matrices, lest they be tiny.
  if (op_kind(c.def->op) == OpKind::Host && c.swept != Dtype::F64 && c.sample.shapes[0].numel() > 64)
    return false;
  for (const auto& f : c.sample.fixed)
    if (f == Dtype::F16 || f == Dtype::BF16) return false;
  if (c.def->op == Op::Astype && itemsize(c.sample.attrs.as<AstypeAttrs>().dtype) == 2) return false;
  return c.differentiable() && structural(c) && c.layout != Layout::Transposed && c.layout != Layout::Flipped;
}
std::string vjp_check(const Case& c, const Context& ctx) {
  const uint64_t seed = seed_of(c.name("vjp", ctx.backend), ctx.seed);
  const Inputs in = draw_inputs(c, seed);
  const uint32_t set = c.def->samples.dtypes;
  const Dtype wide = is_complex(c.swept) ? Dtype::C128 : Dtype::F64;
  if (c.swept == wide || !in_set(wide, set)) {
    return finite_differences(c, ctx, in, seed);
  }
  // A narrower dtype against the wide gradient at the same point: rules are chains of a few roundings. An
  // engine without the wide dtype is compared with the host engine.
  Arrays stored = in.stored, got = gradients(c, in, in.stored, seed);
  std::optional<DeviceScope> scope;
  Case wider = c;
  for (Dtype& t : wider.dtypes)
    if (is_inexact(t)) t = wide;
  if (!has_dtypes(ctx.backend, wider)) {
    stored = unbound(stored);
    got = unbound(got);
    scope.emplace(parse_device("numpy"));
  }
  for (Array& a : stored)
    if (is_inexact(a.dtype())) a = astype(a, wide);
  const Arrays want = gradients(c, in, stored, seed);
  // Decompositions divide by differences of singular values.
  const double roundings = op_kind(c.def->op) == OpKind::Host ? 4096 : 64;
  const std::vector<int> inputs = differentiated(c);
  for (size_t k = 0; k < inputs.size(); ++k) {
    const Array& x = in.stored[static_cast<size_t>(inputs[k])];
    std::string e = same_aval(got[k], x);
    // What the narrow dtype can't hold is infinite there.
    Array held = want[k];
    if (is_floating(x.dtype()))
      held = where(greater(abs(held), finfo(x.dtype()).max), held * std::numeric_limits<double>::infinity(),
                   held);
    if (e.empty()) e = close({astype(got[k], wide)}, {held}, roundings * eps_of({x}));
    if (!e.empty()) return cat("gradient of input ", inputs[k], ": ", e);
  }
  return {};
}

// --- vmap

bool vmap_applies(const Case& c) {
  return !c.dtypes.empty() && structural(c) && c.layout != Layout::Transposed &&
         c.layout != Layout::Flipped && widest(c);
}
std::string vmap_check(const Case& c, const Context& ctx) {
  constexpr size_t kBatch = 3;
  std::vector<Inputs> one;
  for (size_t b = 0; b < kBatch; ++b)
    one.push_back(draw_inputs(c, seed_of(c.name("vmap", ctx.backend), ctx.seed) + b));
  const size_t n = c.dtypes.size();
  const Function f = op_function(c, one[0]);
  for (unsigned mask = 1; mask < (1u << n); ++mask) {
    std::vector<int> axes;
    Arrays mapped;
    for (size_t i = 0; i < n; ++i) {
      const bool on = (mask >> i) & 1u;
      axes.push_back(on ? 0 : kNoAxis);
      mapped.push_back(on ? stack({one[0].stored[i], one[1].stored[i], one[2].stored[i]}, 0)
                          : one[0].stored[i]);
    }
    const Arrays got = vmap(f, axes)(mapped);
    std::vector<Arrays> parts;
    for (size_t b = 0; b < kBatch; ++b) {
      Arrays at;
      for (size_t i = 0; i < n; ++i) at.push_back(one[(mask >> i) & 1u ? b : 0].stored[i]);
      parts.push_back(f(at));
    }
    Arrays want;
    for (size_t o = 0; o < got.size(); ++o) want.push_back(stack({parts[0][o], parts[1][o], parts[2][o]}, 0));
    // A batched rule may compute in another order: 16 roundings of the result's largest element.
    const std::string e = c.def->samples.c == 0 ? same_bits(got, want) : close(got, want, 16 * eps_of(want));
    if (!e.empty()) return cat("batched inputs ", mask, " (bits): ", e);
  }
  return {};
}

// --- compile

// The operation twice (to be merged), and elementwise work around it (to be fused).
Arrays surrounded(const Case& c, const Inputs& in, const Arrays& stored, bool step_by_step) {
  auto settle = [&](Array a) {
    if (step_by_step) eval({a});
    return a;
  };
  Arrays views = in.view(stored);
  for (Array& v : views) v = settle(v);
  Arrays out = apply(c.def->op, views, c.sample.attrs);
  if (step_by_step) eval(out);
  const Arrays again = apply(c.def->op, views, c.sample.attrs);
  const size_t n = out.size();
  for (size_t o = 0; o < n; ++o) {
    if (!is_floating(out[o].dtype())) {
      out.push_back(again[o]);
      continue;
    }
    const Array scaled = settle(again[o] * 0.5), bounded = settle(minimum(out[o], 2.0));
    out.push_back(settle(settle(exp(bounded)) + scaled));
  }
  return out;
}

bool compile_applies(const Case& c) { return !c.dtypes.empty() && c.layout != Layout::Transposed; }
std::string compile_check(const Case& c, const Context& ctx) {
  const Inputs in = draw_inputs(c, seed_of(c.name("compile", ctx.backend), ctx.seed));
  const Arrays want = surrounded(c, in, in.stored, true);
  const Function f = compile([&](const Arrays& a) { return surrounded(c, in, a, false); });
  for (int call = 0; call < 2; ++call) {
    const Arrays got = f(in.stored);
    const std::string e = ctx.exact ? same_bits(got, want) : close(got, want, 16 * eps_of(want));
    if (!e.empty()) return cat("call ", call + 1, ": ", e);
  }
  return {};
}

// --- donate

bool donate_applies(const Case& c) {
  return !c.dtypes.empty() && (c.layout == Layout::Contiguous || c.layout == Layout::Offset);
}
std::string donate_check(const Case& c, const Context& ctx) {
  const uint64_t seed = seed_of(c.name("donate", ctx.backend), ctx.seed);
  const Inputs in = draw_inputs(c, seed);
  std::vector<std::vector<std::byte>> before;
  for (const Array& a : in.stored) before.push_back(bytes_of(a));
  const Arrays want = run_op(c, in, in.stored);
  eval(want);
  for (size_t d = 0; d < in.stored.size(); ++d) {
    Arrays args = in.stored;
    args[d] = Array::from_bytes(before[d].data(), args[d].shape(), args[d].dtype());
    const Function f = compile(op_function(c, in), false, {static_cast<int>(d)});
    const Arrays got = f(args);
    eval(got);
    args[d] = Array();
    std::string e = ctx.exact ? same_bits(got, want) : close(got, want, 16 * eps_of(want));
    if (!e.empty()) return cat("input ", d, " donated: ", e);
    for (size_t i = 0; i < in.stored.size(); ++i)
      if (bytes_of(in.stored[i]) != before[i]) return cat("input ", i, " was written to, though not donated");
  }
  return {};
}

constexpr Check kChecks[] = {{"vjp", vjp_applies, vjp_check},
                             {"vmap", vmap_applies, vmap_check},
                             {"compile", compile_applies, compile_check},
                             {"donate", donate_applies, donate_check}};

}  // namespace

Arrays forward(const Case& c, const Inputs& in) { return run_op(c, in, in.stored); }
Arrays decomposed(const Case& c, const Inputs& in) {
  return c.def->decompose(in.view(in.stored), c.sample.attrs);
}
std::span<const Check> checks() { return kChecks; }

}  // namespace mc::conformance
