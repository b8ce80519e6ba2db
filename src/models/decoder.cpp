#include "decoder.h"

#include "mc/ops.h"

namespace mc::models {

ForwardOutput Decoder::forward(const ForwardInput& in) const {
  ForwardOutput out;
  out.cache = in.cache;
  const nn::Positions at = nn::positions_from(in.start, in.ids.shape(1));
  auto site = [&](SiteKind kind, size_t layer, const Array& x) {
    return at_site(in.sites, kind, static_cast<int>(layer), x);
  };
  Array x = embedding_(in.ids);
  if (embedding_scale_ != 1) x = astype(x, wide()) * static_cast<float>(embedding_scale_);
  if (position_table_.defined()) x = x + take(position_table_, at.positions, 0);
  x = site(SiteKind::Embed, 0, astype(x, dtype_));
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const DecoderBlock& b = blocks_[i];
    auto norm = [](const std::optional<nn::Norm>& n, const Array& a) { return n ? (*n)(a) : a; };
    auto attend = [&](const Array& r) {
      const Array a = site(SiteKind::AttnIn, i, norm(b.attn_norm, r));
      return site(SiteKind::AttnOut, i,
                  norm(b.post_attn_norm, b.attention(a, at, out.cache[i], in.sites, static_cast<int>(i))));
    };
    auto mlp = [&](const Array& r) {
      const Array m = site(SiteKind::MlpIn, i, norm(b.mlp_norm, r));
      const Array y = b.moe ? (*b.moe)(m) : b.mlp(m, in.sites, static_cast<int>(i));
      return site(SiteKind::MlpOut, i, norm(b.post_mlp_norm, y));
    };
    x = site(SiteKind::ResidPre, i, x);
    if (b.parallel) {
      x = x + attend(x) + mlp(x);
    } else {
      x = x + attend(x);
      x = x + mlp(x);
    }
    x = site(SiteKind::ResidPost, i, x);
  }
  out.hidden = site(SiteKind::FinalNorm, 0, norm_(x));
  return out;
}

Array Decoder::logits(const Array& hidden) const {
  const Array y = head_(astype(hidden, wide()));
  return logit_cap_ > 0 ? tanh(y * (1 / logit_cap_)) * logit_cap_ : y;
}

}  // namespace mc::models
