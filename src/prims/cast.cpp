// Changes of dtype.
#include "mc/ops.h"
#include "prims/attrs.h"
#include "prims/rows.h"

namespace mc {
namespace {

void infer_astype(InferCtx& c) { c.push(c.shape(0), c.as<AstypeAttrs>().dtype); }
void infer_bitcast(InferCtx& c) {
  const Dtype to = c.as<AstypeAttrs>().dtype;
  if (itemsize(to) != itemsize(c.dtype(0)) || is_bool(to) || is_bool(c.dtype(0)))
    c.fail(ErrorCode::DtypeMismatch, cat(dtype_name(c.dtype(0)), " can't be read as ", dtype_name(to)),
           "use a dtype of the same item size");
  c.push(c.shape(0), to);
}

// The imaginary part of a cotangent is dropped on the way to a real input.
Arrays vjp_astype(const VjpCtx& c) {
  if (!is_inexact(c.as<AstypeAttrs>().dtype)) return Arrays(1);
  return {astype(c.cot[0], c.in[0].dtype())};
}

using Cases = std::vector<SampleCase>;
// Every pair.
Cases astype_cases() {
  Cases out;
  for (int from = 0; from < kDtypeCount; ++from)
    for (int to = 0; to < kDtypeCount; ++to)
      if (from != to)
        out.push_back({{{3, 17}},
                       AstypeAttrs{static_cast<Dtype>(to)},
                       cat("cast(in0, '", dtype_name(static_cast<Dtype>(to)), "')"),
                       {static_cast<Dtype>(from)},
                       400,
                       is_unsigned(static_cast<Dtype>(from)) ? 0.0 : -400.0});
  return out;
}
Cases bitcast_cases() {
  return {{{{3, 5}}, AstypeAttrs{Dtype::I32}, "in0.astype(np.float32).view(np.int32)", {Dtype::F32}},
          {{{7}}, AstypeAttrs{Dtype::F64}, "in0.astype(np.int64).view(np.float64)", {Dtype::I64}},
          {{{4}}, AstypeAttrs{Dtype::U16}, "in0.astype(np.float16).view(np.uint16)", {Dtype::F16}}};
}

Arrays vmap_same(const VmapCtx& c) { return {apply1(c.op, c.in, c.attrs)}; }

const OpDef kRows[] = {
    {.op = Op::Astype,
     .doc = "another dtype; float to integer truncates and saturates, NaN gives 0; to bool: x != 0",
     .traits = kElementwise,
     .infer = infer_astype,
     .vjp = vjp_astype,
     .vmap = vmap_same,
     .hlo = "stablehlo.convert",
     .samples = {.lo = -400, .hi = 400, .dtypes = kDAll, .c = 0, .cases = astype_cases}},
    {.op = Op::Bitcast,
     .doc = "the same bytes as another dtype",
     .traits = kNoGrad | kView,
     .infer = infer_bitcast,
     .vmap = vmap_same,
     .hlo = "stablehlo.bitcast_convert",
     .samples = {.dtypes = kDNumber, .c = 0, .cases = bitcast_cases, .smooth = false}},
};

}  // namespace

Rows cast_rows() { return kRows; }

Array astype(const Array& a, Dtype dtype) {
  if (a.dtype() == dtype) return a;
  return apply1(Op::Astype, {&a, 1}, AstypeAttrs{dtype});
}
Array bitcast(const Array& a, Dtype dtype) {
  if (a.dtype() == dtype) return a;
  return apply1(Op::Bitcast, {&a, 1}, AstypeAttrs{dtype});
}

}  // namespace mc
