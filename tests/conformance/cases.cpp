#include "cases.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>

#include "core/op_names.h"
#include "mc/device.h"
#include "mc/ops.h"
#include "prims/attrs.h"

namespace mc::conformance {
namespace {

constexpr const char* kLayouts[] = {"contiguous", "strided",   "transposed",     "offset",
                                    "flipped",    "broadcast", "last_broadcast", "zero",
                                    "scalar",     "large",     "special"};
constexpr const char* kShort[] = {"bool", "u8",  "u16",  "u32", "u64", "i8",  "i16", "i32",
                                  "i64",  "f16", "bf16", "f32", "f64", "c64", "c128"};

struct Rng {
  uint64_t x;
  uint64_t next() {  // splitmix64
    uint64_t z = (x += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  double uniform() { return static_cast<double>(next() >> 11) / 9007199254740992.0; }
};

using F64s = std::vector<double>;

F64s draw_reals(Rng& rng, int64_t n, double lo, double hi, Dtype d) {
  F64s v(static_cast<size_t>(n));
  for (double& e : v) {
    e = lo + (hi - lo) * rng.uniform();
    if (is_bool(d)) e = rng.next() & 1u;
    if (is_integer(d)) e = std::floor(is_unsigned(d) ? std::max(0.0, e) : e);
  }
  return v;
}

// Doubles as `dtype`; exact for integers up to 2^32 and rounded once for floats.
Array as(const F64s& v, const Shape& s, Dtype d) {
  const Array a = astype(Array(v, s), d);
  return eval({a}), a;
}

template <class T>
Array complex_array(const F64s& re, const F64s& im, const Shape& s, Dtype d) {
  std::vector<std::complex<T>> v;
  for (size_t i = 0; i < re.size(); ++i) v.emplace_back(static_cast<T>(re[i]), static_cast<T>(im[i]));
  return Array::from_bytes(v.data(), s, d);
}

Array draw_values(Rng& rng, const Shape& s, Dtype d, double lo, double hi) {
  const int64_t n = s.numel();
  if (is_complex(d)) {
    // Written as bytes: an engine may lack complex128.
    const F64s re = draw_reals(rng, n, lo, hi, Dtype::F64), im = draw_reals(rng, n, lo, hi, Dtype::F64);
    if (d == Dtype::C64) return complex_array<float>(re, im, s, d);
    return complex_array<double>(re, im, s, d);
  }
  return as(draw_reals(rng, n, lo, hi, d), s, d);
}

// Every special number of the dtype, over and over; shifted for the second input so that all pairs occur.
Array special_values(const Shape& s, Dtype d, int input) {
  const FloatInfo f = finfo(d);
  const double inf = std::numeric_limits<double>::infinity();
  const F64s pool{0.0,          -0.0,  1.0,   -1.0,   0.5,     -0.5,       2.0,         -3.0,  inf,  -inf,
                  std::nan(""), f.max, f.min, f.tiny, -f.tiny, f.tiny / 4, -f.tiny / 4, 100.5, -88.0};
  F64s v(static_cast<size_t>(s.numel()));
  for (size_t i = 0; i < v.size(); ++i)
    v[i] = pool[input == 0 ? i % pool.size() : i / pool.size() % pool.size()];
  return as(v, s, d);
}

Array draw_structured(Rng& rng, const Case& c, size_t i) {
  const SampleCase& sc = c.sample;
  const Samples& s = c.def->samples;
  const Shape& shape = sc.shapes[i];
  const Dtype d = c.dtypes[i];
  const bool fixed = i < sc.fixed.size() && sc.fixed[i];
  if (d == Dtype::U8 && (sc.draw == Draw::Blocks || sc.draw == Draw::SmallBlocks)) {
    std::vector<uint8_t> bytes(static_cast<size_t>(shape.numel()));
    for (uint8_t& b : bytes) {
      b = static_cast<uint8_t>(rng.next());
      if (sc.draw == Draw::SmallBlocks || (b & 0x7c) == 0x7c) b &= 0xbf;  // no exponent of all ones
    }
    return Array(bytes, shape);
  }
  if (fixed && (is_integer(d) || is_bool(d))) return draw_values(rng, shape, d, sc.int_lo, sc.int_hi);
  Array a = draw_values(rng, shape, d, s.lo, s.hi);
  if (i == 0 && sc.draw == Draw::Sorted) a = sort(a, -1);
  if (i == 0 && sc.draw == Draw::Symmetric) a = (a + conj(swapaxes(a, -1, -2))) * 0.5;
  if (i == 0 && sc.draw == Draw::PositiveDefinite)
    a = matmul(a, conj(swapaxes(a, -1, -2))) +
        eye(shape.back(), -1, 0, d) * static_cast<double>(shape.back());
  return eval({a}), a;
}

// How an input is stored so that undo() below gives `a` again.
Array store(const Array& a, Layout layout, Rng& rng) {
  const int n = a.ndim();
  Array s = a;
  switch (layout) {
    case Layout::Strided:
      if (n > 0)
        s = reshape(stack({a, flip(a, {-1})}, n), [&] {
          Shape wide = a.shape();
          wide[n - 1] *= 2;
          return wide;
        }());
      break;
    case Layout::Transposed: s = transpose(a); break;
    case Layout::Offset: s = concatenate({draw_values(rng, {3}, a.dtype(), 0, 2), reshape(a, {-1})}); break;
    case Layout::Flipped:
      if (n > 0) s = flip(a, {-1});
      break;
    default: break;
  }
  // A view of other memory is copied into memory of its own.
  std::vector<std::byte> bytes(s.nbytes());
  s.to_bytes(bytes.data());
  return Array::from_bytes(bytes.data(), s.shape(), s.dtype());
}

Array undo(const Array& stored, Layout layout, const Shape& shape) {
  const int n = shape.ndim();
  switch (layout) {
    case Layout::Strided: return n > 0 ? slice_axis(stored, -1, 0, 2 * shape.back(), 2) : stored;
    case Layout::Transposed: return transpose(stored);
    case Layout::Offset: return reshape(slice_axis(stored, 0, 3, kEnd), shape);
    case Layout::Flipped: return n > 0 ? flip(stored, {-1}) : stored;
    case Layout::Broadcast:
    case Layout::LastBroadcast: return broadcast_to(stored, shape);
    default: return stored;
  }
}

int arity(const OpDef& d) {
  const std::string_view oracle = d.samples.oracle;
  return oracle.find("in2") != oracle.npos ? 3 : oracle.find("in1") != oracle.npos ? 2 : 1;
}

// Shapes of an elementwise operation's inputs.
std::vector<Shape> elementwise_shapes(int n, Layout layout) {
  Shape s{3, 33};
  if (layout == Layout::Zero) s = {0, 3};
  if (layout == Layout::Scalar) s = {};
  if (layout == Layout::Large) s = {2, 2063};
  if (layout == Layout::Special) s = {19, 19};
  std::vector<Shape> out(static_cast<size_t>(n), s);
  if (layout == Layout::Broadcast && n > 1) {
    out[0] = {3, 1};
    out[1] = {33};
  }
  return out;
}

}  // namespace

const char* layout_name(Layout layout) { return kLayouts[static_cast<size_t>(layout)]; }

std::string Case::name(const char* mode, const Backend& backend) const {
  return cat(mode, "/", op, "/", dtype, "/", variant, "@", backend.name());
}

bool Case::differentiable() const {
  if (in_set(swept, def->samples.no_grad)) return false;
  if (def->has(kNoGrad) || (!def->vjp && !def->decompose) || !def->samples.smooth) return false;
  for (Dtype d : dtypes)
    if (is_inexact(d)) return true;
  return false;
}

bool has_dtypes(const Backend& backend, const Case& c) {
  Arrays in;
  for (size_t i = 0; i < c.dtypes.size(); ++i) {
    if (!backend.has_dtype(c.dtypes[i])) return false;
    in.push_back(zeros(c.sample.shapes[i], c.dtypes[i]));
  }
  const Arrays results = apply(c.def->op, in, c.sample.attrs);  // inferred, never computed
  return std::all_of(results.begin(), results.end(),
                     [&](const Array& a) { return backend.has_dtype(a.dtype()); });
}

std::vector<Case> all_cases(const Backend& backend, int& left_out) {
  std::vector<Case> out;
  for (int i = 0; i < kOpCount; ++i) {
    const OpDef& d = op_def(static_cast<Op>(i));
    Case c;
    c.op = op_name(d.op);
    c.def = &d;
    auto add = [&](Layout layout, const std::string& number) {
      c.layout = layout;
      c.variant = cat(number, layout_name(layout));
      if (!has_dtypes(backend, c)) return void(++left_out);
      out.push_back(c);
    };
    auto each_dtype = [&](auto f) {
      for (int t = 0; t < kDtypeCount; ++t)
        if (in_set(static_cast<Dtype>(t), d.samples.dtypes)) f(static_cast<Dtype>(t));
    };
    if (!d.samples.cases) {
      const int n = arity(d);
      each_dtype([&](Dtype t) {
        c.swept = t;
        c.dtype = kShort[static_cast<size_t>(t)];
        c.dtypes.assign(static_cast<size_t>(n), t);
        for (int l = 0; l <= static_cast<int>(Layout::Special); ++l) {
          const auto layout = static_cast<Layout>(l);
          if (layout == Layout::Special && !is_floating(t)) continue;
          if (layout == Layout::LastBroadcast) continue;  // Broadcast is that already
          c.sample = {elementwise_shapes(n, layout), {}, d.samples.oracle};
          add(layout, "");
        }
      });
      continue;
    }
    const std::vector<SampleCase> samples = d.samples.cases();
    for (size_t k = 0; k < samples.size(); ++k) {
      c.sample = samples[k];
      const size_t n = c.sample.shapes.size();
      bool swept = n > 0 && c.sample.fixed.empty();
      for (const auto& f : c.sample.fixed) swept = swept || !f;
      auto all_layouts = [&](Dtype t) {
        c.swept = t;
        c.dtypes.clear();
        for (size_t j = 0; j < n; ++j)
          c.dtypes.push_back(c.sample.fixed.empty() ? t : c.sample.fixed[j].value_or(t));
        c.dtype = kShort[static_cast<size_t>(t)];
        const std::string number = cat(k, ".");
        add(Layout::Contiguous, number);
        if (n == 0) return;
        for (Layout l : {Layout::Strided, Layout::Transposed, Layout::Offset, Layout::Flipped})
          add(l, number);
        // A repeated row makes matrices singular and blocks equal: layouts of data, not of such operands.
        if (c.sample.draw == Draw::Uniform && op_kind(d.op) != OpKind::Host) {
          add(Layout::Broadcast, number);
          if (n > 1) add(Layout::LastBroadcast, number);
        }
      };
      if (swept)
        each_dtype(all_layouts);
      else
        all_layouts(n ? *c.sample.fixed[0] : Dtype::F32);
    }
  }
  return out;
}

uint64_t seed_of(const std::string& name, uint64_t base) {
  uint64_t h = 0xcbf29ce484222325ull ^ base;  // FNV-1a
  // Every engine gets the numbers of the host engine: their results can be compared with each other.
  for (const char ch : name.substr(0, name.rfind('@')) + "@numpy")
    h = (h ^ static_cast<uint8_t>(ch)) * 0x100000001b3ull;
  return h;
}

Array draw_like(const Shape& shape, Dtype dtype, uint64_t seed, double lo, double hi) {
  Rng rng{seed};
  return draw_values(rng, shape, dtype, lo, hi);
}

Inputs draw_inputs(const Case& c, uint64_t seed) {
  // Drawn by the host engine, so that what is tested does not make its own questions.
  const DeviceScope scope(parse_device("numpy"));
  Rng rng{seed};
  Inputs in;
  in.of = &c;
  const bool elementwise = !c.def->samples.cases;
  for (size_t i = 0; i < c.sample.shapes.size(); ++i) {
    const Shape& s = c.sample.shapes[i];
    Array a;
    if (elementwise) {
      a = c.layout == Layout::Special
              ? special_values(s, c.dtypes[i], static_cast<int>(i))
              : draw_values(rng, s, c.dtypes[i], c.def->samples.lo, c.def->samples.hi);
    } else {
      a = draw_structured(rng, c, i);
    }
    const bool repeated = (c.layout == Layout::Broadcast && !in.own_broadcast()) ||
                          (c.layout == Layout::LastBroadcast && i + 1 == c.sample.shapes.size());
    if (repeated && s.ndim() > 0 && s[0] > 0) a = slice_axis(a, 0, 0, 1);
    in.stored.push_back(store(a, c.layout, rng));
  }
  return in;
}

bool Inputs::own_broadcast() const { return !of->def->samples.cases && of->sample.shapes.size() > 1; }

Arrays Inputs::view(const Arrays& from) const {
  Arrays out;
  for (size_t i = 0; i < from.size(); ++i) {
    const bool own = of->layout == Layout::Broadcast && own_broadcast();
    out.push_back(own ? from[i] : undo(from[i], of->layout, of->sample.shapes[i]));
  }
  return out;
}

}  // namespace mc::conformance
