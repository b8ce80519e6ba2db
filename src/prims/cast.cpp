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
Cases astype_cases() {
  auto one = [](Dtype from, Dtype to, const char* oracle) {
    return SampleCase{{{3, 17}}, AstypeAttrs{to}, oracle, {from}, 100};
  };
  return {one(Dtype::F32, Dtype::F64, "in0"),           one(Dtype::F64, Dtype::F32, "in0"),
          one(Dtype::F32, Dtype::BF16, "in0"),          one(Dtype::F32, Dtype::F16, "in0"),
          one(Dtype::BF16, Dtype::F32, "in0"),          one(Dtype::F16, Dtype::F32, "in0"),
          one(Dtype::F32, Dtype::I32, "np.trunc(in0)"), one(Dtype::F64, Dtype::I8, "np.trunc(in0)"),
          one(Dtype::F32, Dtype::Bool, "in0 != 0"),     one(Dtype::I32, Dtype::U8, "np.mod(in0, 256)"),
          one(Dtype::I64, Dtype::F32, "in0"),           one(Dtype::Bool, Dtype::F32, "in0"),
          one(Dtype::F32, Dtype::C64, "in0"),           one(Dtype::C64, Dtype::F32, "np.real(in0)")};
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
     .samples = {.dtypes = kDAll, .c = 1, .cases = astype_cases}},
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
