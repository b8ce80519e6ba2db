#include "runtime/strided_fused.h"

namespace mc::strided {
namespace {
bool narrow(Dtype d) { return d == Dtype::F32 || d == Dtype::F16 || d == Dtype::BF16; }
}  // namespace

bool takes_rows(std::span<const Aval> in, const Attrs&) { return narrow(in[0].dtype); }
bool takes_norm(std::span<const Aval> in, const Attrs&) {
  for (const Aval& w : in.subspan(1))
    if (w.dtype != Dtype::F32) return false;
  return narrow(in[0].dtype);
}
bool takes_cross_entropy(std::span<const Aval> in, const Attrs&) {
  return in[0].dtype == Dtype::F32 && (in[1].dtype == Dtype::I32 || in[1].dtype == Dtype::I64);
}
bool takes_rope(std::span<const Aval> in, const Attrs&) {
  return narrow(in[0].dtype) && in[0].shape.ndim() >= 2 && in[1].dtype == Dtype::I32;
}
bool takes_attention(std::span<const Aval> in, const Attrs& attrs) {
  const auto& a = attrs.as<AttentionAttrs>();
  size_t next = 3;
  if (a.has_mask && !(narrow(in[next].dtype) || in[next].dtype == Dtype::Bool)) return false;
  next += a.has_mask;
  if (a.has_start && in[next++].dtype != Dtype::I32) return false;
  if (a.has_len && in[next].dtype != Dtype::I32) return false;
  return narrow(in[0].dtype) && narrow(in[1].dtype) && in[1].dtype == in[2].dtype;
}

}  // namespace mc::strided
