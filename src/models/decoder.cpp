#include "decoder.h"

#include "mc/ops.h"

namespace mc::models {

void Decoder::read_gated(const Loader& l, const nn::Attention& attention,
                         const std::function<void(int64_t, DecoderBlock&)>& finish,
                         nn::Activation activation) {
  ModelConfig& c = config_;
  const std::vector<int64_t> windows = l.windows(c);
  const int64_t expert_ffn = l.u("expert_feed_forward_length", c.ffn, 1, 1 << 24);
  embedding_.table = l.linear("token_embd.weight", c.vocab, c.hidden);
  for (int64_t i = 0; i < c.layers; ++i) {
    DecoderBlock b;
    b.attn_norm = l.norm(block(i, "attn_norm.weight"), c.hidden, c.norm_eps);
    b.mlp_norm = l.norm(block(i, "ffn_norm.weight"), c.hidden, c.norm_eps);
    b.attention = attention;
    b.attention.window = windows[static_cast<size_t>(i)];
    l.attention(b.attention, i, c);
    b.moe = l.moe(i, c, expert_ffn);
    if (!b.moe) b.mlp = l.gated_mlp(i, c, activation);
    if (finish) finish(i, b);
    blocks_.push_back(std::move(b));
  }
  norm_ = l.norm("output_norm.weight", c.hidden, c.norm_eps);
  head_ = l.head(embedding_, c);
  l.require_all_used();
}

ForwardOutput Decoder::forward(const ForwardInput& in) const {
  ForwardOutput out;
  out.cache = in.cache;
  const nn::Positions at = nn::positions_from(in.start, in.ids.shape(1));
  // Every value with a name is a rounded one, and so is each sum that enters the stream.
  auto rounded = [&](const Array& x) { return noise_ > 0 ? nn::with_noise(x, noise_) : x; };
  auto site = [&](SiteKind kind, size_t layer, const Array& x) {
    return at_site(in.sites, kind, static_cast<int>(layer), rounded(x));
  };
  Array x = embedding_(in.ids);
  if (embedding_scale_ != 1) x = astype(x, wide()) * static_cast<float>(embedding_scale_);
  if (position_table_.defined()) x = x + take(position_table_, at.positions, 0);
  if (embedding_norm_) x = (*embedding_norm_)(x);
  x = site(SiteKind::Embed, 0, astype(x, dtype_));
  nn::KvCache none;  // an encoder's
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const DecoderBlock& b = blocks_[i];
    nn::KvCache& cache = config_.encoder ? none : out.cache[i];
    auto norm = [](const std::optional<nn::Norm>& n, const Array& a) { return n ? (*n)(a) : a; };
    auto attend = [&](const Array& r) {
      const Array a = site(SiteKind::AttnIn, i, norm(b.attn_norm, r));
      return site(
          SiteKind::AttnOut, i,
          norm(b.post_attn_norm, b.attention(a, at, cache, in.sites, static_cast<int>(i), in.lengths)));
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
      x = norm(b.attn_sum_norm, rounded(x + attend(x)));
      x = norm(b.mlp_sum_norm, x + mlp(x));
    }
    x = site(SiteKind::ResidPost, i, x);
  }
  out.hidden = norm_ ? site(SiteKind::FinalNorm, 0, (*norm_)(x)) : x;
  return out;
}

Array Decoder::unembed(const Array& residual) const { return logits(norm_ ? (*norm_)(residual) : residual); }

Array Decoder::logits(const Array& hidden) const {
  const Array y = head_(astype(hidden, wide()));
  return logit_cap_ > 0 ? tanh(y * (1 / logit_cap_)) * logit_cap_ : y;
}

}  // namespace mc::models
