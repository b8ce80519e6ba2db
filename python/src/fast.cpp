// Fused operations, random numbers and quantized weights.
#include "mc/fast.h"

#include "common.h"
#include "mc/ops.h"
#include "mc/quantize.h"
#include "mc/random.h"

namespace mcpy {
namespace {

Array or_undefined(nb::handle h) { return h.is_none() ? Array() : to_array(h); }

mc::QTensor affine(const Array& packed, const Array& scales, nb::handle biases, int group, int bits) {
  if (group <= 0 || bits <= 0 || bits > 8)
    throw nb::value_error("group_size and bits must be positive, bits at most 8");
  mc::QTensor w;
  w.bits = bits;
  w.group = group;
  if (packed.ndim() != 2 || scales.ndim() != 2)
    throw nb::value_error("packed and scales have two dimensions: (rows, …)");
  w.shape = Shape{packed.shape(0), packed.shape(1) * 32 / bits};
  w.parts = {packed, scales, to_array(biases)};
  return w;
}

}  // namespace

void bind_fast(nb::module_& m) {
  m.def("softmax", [](nb::handle a, int axis) { return mc::softmax(to_array(a), axis); });
  m.def("log_softmax", [](nb::handle a, int axis) { return mc::log_softmax(to_array(a), axis); });
  m.def(
      "rms_norm",
      [](nb::handle x, nb::handle w, double eps) { return mc::rms_norm(to_array(x), or_undefined(w), eps); },
      nb::arg(), nb::arg().none(), nb::arg());
  m.def(
      "layer_norm",
      [](nb::handle x, nb::handle w, nb::handle b, double eps) {
        return mc::layer_norm(to_array(x), or_undefined(w), or_undefined(b), eps);
      },
      nb::arg(), nb::arg().none(), nb::arg().none(), nb::arg());
  m.def(
      "rope",
      [](nb::handle x, int dims, bool traditional, double base, double scale, nb::handle offset,
         nb::handle freqs) {
        const mc::RopeOptions o{.dims = dims, .traditional = traditional, .base = base, .scale = scale};
        const Array a = to_array(x);
        if (freqs.is_none() && PyLong_Check(offset.ptr())) return mc::rope(a, nb::cast<int64_t>(offset), o);
        Array positions = to_array(offset);
        if (positions.ndim() == 0) {
          if (a.ndim() < 2) throw nb::value_error("rope takes at least two dimensions: (…, T, d)");
          positions = mc::add(mc::arange(a.shape(a.ndim() - 2)), mc::astype(positions, Dtype::I32));
        }
        return freqs.is_none() ? mc::rope(a, positions, o) : mc::rope_freqs(a, positions, to_array(freqs), o);
      },
      nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none());
  m.def(
      "scaled_dot_product_attention",
      [](nb::handle q, nb::handle k, nb::handle v, double scale, nb::handle mask, bool causal, int64_t window,
         double softcap, nb::handle q_start, nb::handle kv_len) {
        return mc::scaled_dot_product_attention(
            to_array(q), to_array(k), to_array(v),
            {.scale = scale, .causal = causal, .window = window, .softcap = softcap}, or_undefined(mask),
            or_undefined(q_start), or_undefined(kv_len));
      },
      nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none(), nb::arg(), nb::arg(), nb::arg(),
      nb::arg().none(), nb::arg().none());
  m.def("cross_entropy",
        [](nb::handle l, nb::handle y) { return mc::cross_entropy(to_array(l), to_array(y)); });
  m.def("swiglu", [](nb::handle g, nb::handle u) { return mc::swiglu(to_array(g), to_array(u)); });

  m.def("random_key", [](uint64_t seed) { return mc::random::key(seed); });
  m.def("random_split", [](nb::handle k, int64_t n) { return mc::random::split(to_array(k), n); });
  m.def("random_seed", [](uint64_t seed) { mc::random::seed(seed); });
  m.def(
      "random_bits",
      [](nb::handle s, nb::handle k) { return mc::random::bits(to_shape(s), or_undefined(k)); }, nb::arg(),
      nb::arg().none());
  m.def(
      "random_uniform",
      [](double lo, double hi, nb::handle s, nb::handle d, nb::handle k) {
        return mc::random::uniform(lo, hi, to_shape(s), to_dtype_or_none(d).value_or(Dtype::F32),
                                   or_undefined(k));
      },
      nb::arg(), nb::arg(), nb::arg(), nb::arg().none(), nb::arg().none());
  m.def(
      "random_normal",
      [](nb::handle s, nb::handle d, double mean, double std, nb::handle k) {
        return mc::random::normal(to_shape(s), to_dtype_or_none(d).value_or(Dtype::F32), mean, std,
                                  or_undefined(k));
      },
      nb::arg(), nb::arg().none(), nb::arg(), nb::arg(), nb::arg().none());
  m.def(
      "random_randint",
      [](int64_t lo, int64_t hi, nb::handle s, nb::handle d, nb::handle k) {
        return mc::random::randint(lo, hi, to_shape(s), to_dtype_or_none(d).value_or(Dtype::I32),
                                   or_undefined(k));
      },
      nb::arg(), nb::arg(), nb::arg(), nb::arg().none(), nb::arg().none());
  m.def(
      "random_bernoulli",
      [](nb::handle p, nb::handle s, nb::handle k) {
        const Array a = to_array(p);
        return mc::random::bernoulli(a, s.is_none() ? a.shape() : to_shape(s), or_undefined(k));
      },
      nb::arg(), nb::arg().none(), nb::arg().none());
  m.def(
      "random_categorical",
      [](nb::handle l, int64_t n, nb::handle k) {
        return mc::random::categorical(to_array(l), n, or_undefined(k));
      },
      nb::arg(), nb::arg(), nb::arg().none());
  m.def(
      "random_permutation",
      [](int64_t n, nb::handle k) { return mc::random::permutation(n, or_undefined(k)); }, nb::arg(),
      nb::arg().none());

  m.def("quantize", [](nb::handle w, int group, int bits) {
    const mc::QTensor q = mc::quantize_affine(to_array(w), group, bits);
    return nb::make_tuple(q.parts[0], q.parts[1], q.parts[2]);
  });
  m.def("dequantize", [](nb::handle p, nb::handle s, nb::handle b, int group, int bits) {
    return mc::dequantize(affine(to_array(p), to_array(s), b, group, bits));
  });
  m.def("quantized_matmul",
        [](nb::handle x, nb::handle p, nb::handle s, nb::handle b, int group, int bits, bool fast) {
          return mc::quantized_matmul(to_array(x), affine(to_array(p), to_array(s), b, group, bits), fast);
        });
}

}  // namespace mcpy
