#include "backends/cuda/pointwise.h"

#include <algorithm>
#include <array>
#include <map>

#include "core/op_names.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "prims/attrs.h"

namespace mc::cuda {
namespace {

constexpr int kThreads = 256;

const char* function_of(Op op) {
  static const auto table = [] {
    std::array<const char*, kOpCount> t{};
    auto set = [&](Op o, const char* name) { t[static_cast<size_t>(o)] = name; };
    set(Op::Abs, "op_abs"), set(Op::Negative, "op_neg"), set(Op::Sign, "op_sign"), set(Op::Sqrt, "op_sqrt");
    set(Op::Rsqrt, "op_rsqrt"), set(Op::Exp, "op_exp"), set(Op::Expm1, "op_expm1"), set(Op::Log, "op_log");
    set(Op::Log1p, "op_log1p"), set(Op::Log2, "op_log2"), set(Op::Sin, "op_sin"), set(Op::Cos, "op_cos");
    set(Op::Tan, "op_tan"), set(Op::Arcsin, "op_asin"), set(Op::Arccos, "op_acos"),
        set(Op::Arctan, "op_atan");
    set(Op::Sinh, "op_sinh"), set(Op::Cosh, "op_cosh"), set(Op::Tanh, "op_tanh"), set(Op::Erf, "op_erf");
    set(Op::Erfinv, "op_erfinv"), set(Op::Sigmoid, "op_sigmoid"), set(Op::Floor, "op_floor");
    set(Op::Ceil, "op_ceil"), set(Op::Round, "op_round"), set(Op::IsNan, "op_isnan"),
        set(Op::IsInf, "op_isinf");
    set(Op::IsFinite, "op_isfinite"), set(Op::LogicalNot, "op_lnot"), set(Op::BitwiseNot, "op_not");
    set(Op::Conj, "op_conj"), set(Op::Add, "op_add"), set(Op::Subtract, "op_sub"),
        set(Op::Multiply, "op_mul");
    set(Op::Divide, "op_div"), set(Op::Power, "op_pow"), set(Op::FloorDivide, "op_floordiv");
    set(Op::Remainder, "op_rem"), set(Op::Maximum, "op_max"), set(Op::Minimum, "op_min");
    set(Op::Arctan2, "op_atan2"), set(Op::Equal, "op_eq"), set(Op::NotEqual, "op_ne"), set(Op::Less, "op_lt");
    set(Op::LessEqual, "op_le"), set(Op::Greater, "op_gt"), set(Op::GreaterEqual, "op_ge");
    set(Op::LogicalAnd, "op_land"), set(Op::LogicalOr, "op_lor"), set(Op::BitwiseAnd, "op_and");
    set(Op::BitwiseOr, "op_or"), set(Op::BitwiseXor, "op_xor"), set(Op::LeftShift, "op_shl");
    set(Op::RightShift, "op_shr"), set(Op::Where, "op_where"), set(Op::Complex, "op_complex");
    return t;
  }();
  return table[static_cast<size_t>(op)];
}

const char* rounding(Dtype d) {
  switch (d) {
    case Dtype::F16: return "r_f16";
    case Dtype::BF16: return "r_bf16";
    case Dtype::C64: return "r_c64";
    default: return "";
  }
}

std::string cast_function(Dtype to) {
  switch (to) {
    case Dtype::Bool: return "to_bool";
    case Dtype::F16: return "to_half";
    case Dtype::BF16: return "to_brain";
    case Dtype::F32: return "to_float";
    case Dtype::F64: return "to_double";
    case Dtype::C64: return "to_c64";
    case Dtype::C128: return "to_c128";
    default: return cat("to_int<", jit_stored(to), ">");
  }
}

// One node as a statement.
std::string statement(const GraphNode& n, Dtype out, const std::vector<std::string>& in,
                      const std::string& name) {
  std::string args;
  for (const std::string& a : in) args += (args.empty() ? "" : ", ") + a;
  if (n.op == Op::Astype)
    return cat("  const ", jit_computed(out), " ", name, " = ", cast_function(out), "(", args, ");\n");
  const char* f = function_of(n.op);
  if (!f)
    throw Error(ErrorCode::Internal, cat("no generated operation is named ", op_name(n.op)),
                std::string(op_name(n.op)));
  return cat("  const ", jit_computed(out), " ", name, " = ", rounding(out), "(", f, "(", args, "));\n");
}

}  // namespace

const char* jit_stored(Dtype d) {
  constexpr const char* names[] = {"bl",  "u8",  "u16",  "u32", "u64", "i8",  "i16", "i32",
                                   "i64", "f16", "bf16", "f32", "f64", "c64", "c128"};
  return names[static_cast<size_t>(d)];
}
const char* jit_computed(Dtype d) {
  switch (d) {
    case Dtype::Bool: return "bool";
    case Dtype::F16:
    case Dtype::BF16: return "float";
    case Dtype::C64:
    case Dtype::C128: return "cd";
    default: return jit_stored(d);
  }
}

PointwiseKernel::PointwiseKernel(const Graph& g, const PointwiseGroup& group, std::span<const Tensor> in,
                                 const Tensor& out)
    : out_dtype_(out.dtype), numel_(out.numel()) {
  std::map<ValueId, std::string> names;
  for (size_t i = 0; i < group.inputs.size(); ++i) names[group.inputs[i]] = cat("x", i);
  int next = 0;
  for (const GraphNode* n : group.nodes) {
    std::vector<std::string> args;
    for (ValueId v : g.operands_of(*n)) args.push_back(names.at(v));
    const std::string name = cat("v", next++);
    body_ += statement(*n, g.values[static_cast<size_t>(n->first_out)].dtype, args, name);
    names[n->first_out] = name;
  }
  body_ += cat("  y = st<", jit_stored(out_dtype_), ">(", names.at(group.output), ");\n");

  // Dimensions of one go; neighbours that all operands step through alike become one.
  std::vector<Shape> strides(in.size());
  for (int d = 0; d < out.shape.ndim(); ++d) {
    if (out.shape[d] == 1) continue;
    bool merge = !shape_.empty();
    for (size_t i = 0; i < in.size() && merge; ++i)
      merge = strides[i].back() == in[i].strides[d] * out.shape[d];
    if (merge) {
      shape_[shape_.ndim() - 1] *= out.shape[d];
      for (size_t i = 0; i < in.size(); ++i) strides[i][strides[i].ndim() - 1] = in[i].strides[d];
    } else {
      shape_.push_back(out.shape[d]);
      for (size_t i = 0; i < in.size(); ++i) strides[i].push_back(in[i].strides[d]);
    }
  }
  size_t largest = itemsize(out_dtype_);
  for (size_t i = 0; i < in.size(); ++i) {
    Input x{in[i].dtype, Kind::Strided, strides[i]};
    const bool still = std::all_of(x.strides.begin(), x.strides.end(), [](int64_t s) { return s == 0; });
    if (in[i].literal)
      x.kind = Kind::Literal;
    else if (still)
      x.kind = Kind::Scalar;
    else if (is_row_major(shape_, x.strides))
      x.kind = Kind::Flat;
    strided_ = strided_ || x.kind == Kind::Strided;
    if (x.kind == Kind::Flat) largest = std::max(largest, itemsize(x.dtype));
    inputs_.push_back(std::move(x));
  }
  if (!strided_) width_ = static_cast<int>(std::min<size_t>(8, 16 / largest));

  // The struct P of source().
  JitParams& p = params_;
  p.add(numel_);
  if (strided_)
    for (int64_t d : shape_) p.add(d);
  out_at_ = p.size();
  p.add(int64_t{0});
  size_t align = 8;
  for (size_t i = 0; i < in.size(); ++i) {
    in_at_.push_back(0);
    if (inputs_[i].kind == Kind::Literal) {
      // complex128 is aligned to 16 bytes in the struct.
      if (inputs_[i].dtype == Dtype::C128) {
        align = 16;
        if (p.size() % 16) p.add(int64_t{0});
      }
      p.add_bytes(in[i].literal, 16);
      continue;
    }
    in_at_[i] = p.size();
    p.add(int64_t{0});
    if (inputs_[i].kind == Kind::Strided)
      for (int64_t s : inputs_[i].strides) p.add(s);
  }
  if (p.size() % align) p.add(int64_t{0});
}

std::string PointwiseKernel::source(int width) const {
  const int rank = shape_.ndim();
  std::string params = cat("struct P { i64 n; ", strided_ ? cat("i64 dim[", rank, "]; ") : "", "void* out; ");
  std::string formal, actual, vec_actual, loads, vec_loads;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const Input& x = inputs_[i];
    const char* s = jit_stored(x.dtype);
    const std::string p = cat("p.a", i);
    formal += cat(", const ", jit_computed(x.dtype), " x", i);
    switch (x.kind) {
      case Kind::Literal:
        params += cat("union { ", s, " a", i, "; double pad", i, "[2]; }; ");
        loads += cat("  const ", jit_computed(x.dtype), " k", i, " = ld(", p, ");\n");
        actual += cat(", k", i);
        vec_actual += cat(", k", i);
        break;
      case Kind::Scalar:
        params += cat("const ", s, "* a", i, "; ");
        loads += cat("  const ", jit_computed(x.dtype), " k", i, " = ld(*", p, ");\n");
        actual += cat(", k", i);
        vec_actual += cat(", k", i);
        break;
      case Kind::Flat:
        params += cat("const ", s, "* a", i, "; ");
        actual += cat(", ld(", p, "[i])");
        vec_loads +=
            cat("    const Vec<", s, "> w", i, " = *reinterpret_cast<const Vec<", s, ">*>(", p, " + i);\n");
        vec_actual += cat(", ld(w", i, ".v[j])");
        break;
      case Kind::Strided:
        params += cat("const ", s, "* a", i, "; i64 s", i, "[", rank, "]; ");
        actual += cat(", ld(", p, "[o", i, "])");
        break;
    }
  }
  params += "};\n";
  const char* o = jit_stored(out_dtype_);
  // A union member that is a struct has no constructor to run: all stored types are plain.
  std::string text = params;
  text += cat("__device__ __forceinline__ void body(", o, "& y", formal, ") {\n", body_, "}\n");
  text += cat("extern \"C\" __global__ void __launch_bounds__(", kThreads,
              ") mc_kernel(const __grid_constant__ P p) {\n");
  text += cat("  ", o, "* out = (", o, "*)p.out;\n");
  if (strided_) {
    text += cat("  const i64 i = (i64)blockIdx.x * ", kThreads, " + threadIdx.x;\n  if (i >= p.n) return;\n",
                loads);
    for (size_t i = 0; i < inputs_.size(); ++i)
      if (inputs_[i].kind == Kind::Strided) text += cat("  i64 o", i, " = 0;\n");
    const bool small = numel_ < INT32_MAX;
    text += small ? "  u32 rest = (u32)i;\n" : "  i64 rest = i;\n";
    for (int d = rank - 1; d >= 0; --d) {
      const char* t = small ? "u32" : "i64";
      if (d > 0)
        text += cat("  { const ", t, " dim = (", t, ")p.dim[", d, "]; const ", t,
                    " next = rest / dim; const i64 c = (i64)(rest - next * dim); rest = next;\n");
      else
        text += "  { const i64 c = (i64)rest;\n";
      for (size_t i = 0; i < inputs_.size(); ++i)
        if (inputs_[i].kind == Kind::Strided && inputs_[i].strides[d] != 0)
          text += cat("    o", i, " += c * p.s", i, "[", d, "];\n");
      text += "  }\n";
    }
    text += cat("  body(out[i]", actual, ");\n}\n");
    return text;
  }
  if (width <= 1) {
    text += cat("  const i64 i = (i64)blockIdx.x * ", kThreads, " + threadIdx.x;\n  if (i >= p.n) return;\n",
                loads, "  body(out[i]", actual, ");\n}\n");
    return text;
  }
  text += cat("  const i64 at = ((i64)blockIdx.x * ", kThreads, " + threadIdx.x) * ", width,
              ";\n  if (at >= p.n) return;\n", loads);
  text += cat("  if (at + ", width, " <= p.n) {\n    const i64 i = at;\n", vec_loads, "    Vec<", o,
              "> y;\n#pragma unroll\n    for (int j = 0; j < ", width, "; ++j) body(y.v[j]", vec_actual,
              ");\n    *reinterpret_cast<Vec<", o, ">*>(out + i) = y;\n    return;\n  }\n");
  text += cat("  for (i64 i = at; i < p.n; ++i) body(out[i]", actual, ");\n}\n");
  return cat("template <class S> struct __align__(sizeof(S) * ", width, ") Vec { S v[", width, "]; };\n",
             text);
}

void PointwiseKernel::run(DeviceState& device, cudaStream_t stream, std::span<const Tensor> in,
                          const Tensor& out) {
  if (numel_ == 0) return;
  bool vectors = width_ > 1;
  auto aligned = [&](const std::byte* p, Dtype d) {
    return reinterpret_cast<uintptr_t>(p) % (itemsize(d) * static_cast<size_t>(width_)) == 0;
  };
  if (vectors) {
    vectors = aligned(out.data, out_dtype_);
    for (size_t i = 0; i < in.size(); ++i)
      if (inputs_[i].kind == Kind::Flat) vectors = vectors && aligned(in[i].data, inputs_[i].dtype);
  }
  const int width = vectors ? width_ : 1;
  JitKernel& kernel = kernels_[vectors];
  if (!kernel) kernel = jit_kernel(device, source(width));
  params_.set(out_at_, out.data);
  for (size_t i = 0; i < in.size(); ++i)
    if (in_at_[i]) params_.set(in_at_[i], in[i].data);
  const int64_t per_block = int64_t{kThreads} * width;
  jit_launch(kernel, (numel_ + per_block - 1) / per_block, kThreads, 0, stream, params_.bytes());
}

std::vector<std::string> pointwise_samples() {
  std::vector<std::string> out;
  for (int d = 0; d < kDtypeCount; ++d) {
    const Dtype dtype = static_cast<Dtype>(d);
    Graph g;
    PointwiseGroup group;
    std::vector<Tensor> in;
    // Each operation by itself on inputs of the dtype; the results meet in one output.
    std::string text = cat("typedef ", jit_computed(dtype), " C;\n");
    int k = 0;
    for (int o = 0; o < kOpCount; ++o) {
      const Op op = static_cast<Op>(o);
      if (!is_pointwise(op) || op == Op::Astype || op == Op::Where) continue;
      const OpDef& def = op_def(op);
      if (!in_set(dtype, def.samples.dtypes)) continue;
      const bool two = o >= static_cast<int>(Op::Add);
      const bool real = op == Op::Abs && is_complex(dtype);
      Dtype result = def.has(kPredicate) ? Dtype::Bool : real ? real_dtype(dtype) : dtype;
      if (op == Op::Complex) result = dtype == Dtype::F64 ? Dtype::C128 : Dtype::C64;
      GraphNode n;
      n.op = op;
      text += cat(
          "__device__ ", jit_computed(result), " fn_", k++, "(C a, C b) {\n",
          statement(n, result, two ? std::vector<std::string>{"a", "b"} : std::vector<std::string>{"a"}, "v"),
          "  return v;\n}\n");
    }
    for (int t = 0; t < kDtypeCount; ++t) {
      GraphNode n;
      n.op = Op::Astype;
      const Dtype to = static_cast<Dtype>(t);
      text += cat("__device__ ", jit_stored(to), " fn_", k++, "(C a, C b) {\n", statement(n, to, {"a"}, "v"),
                  "  return st<", jit_stored(to), ">(v);\n}\n");
    }
    text += cat("extern \"C\" __global__ void mc_kernel(", jit_stored(dtype),
                "* p, u8* q) {\n  C a = ld(p[0]), b = ld(p[1]);\n");
    for (int i = 0; i < k; ++i)
      text += cat("  { auto r = fn_", i, "(a, b); *(decltype(r)*)(q + 16 * ", i, ") = r; }\n");
    text += "}\n";
    out.push_back(std::move(text));
  }
  return out;
}

}  // namespace mc::cuda
