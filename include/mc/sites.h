// Sites: named places inside a model where activations are read (taps) and written (edits). docs/sites.md.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "mc/array.h"

namespace mc {

enum class SiteKind : uint8_t {
  Embed,
  ResidPre,
  AttnIn,
  Q,
  K,
  V,
  Pattern,
  Heads,
  AttnOut,
  MlpIn,
  MlpAct,
  MlpOut,
  ResidPost,
  FinalNorm,
  Logits
};
inline constexpr int kSiteKinds = 15;

struct Site {
  SiteKind kind = SiteKind::ResidPost;
  int layer = 0;  // 0 for those that a model has once
  bool operator==(const Site&) const = default;
  auto operator<=>(const Site&) const = default;  // NOLINT(modernize-use-nullptr): a false alarm
};
struct SiteInfo {
  const char* name;
  bool per_layer, per_head;
  const char* shape;  // as it is read
  const char* what;
};
MC_API const SiteInfo& site_info(SiteKind kind);
// "resid_post.12", "embed"
MC_API std::string site_name(const Site& site);
// Of a list such as "resid_post.12,q.0-5,attn_out.-1,mlp_out.all,embed", in its order, for a model of
// `layers`. Throws UnknownSite naming the nearest, UnknownLayer with the valid range, InvalidArgument for what
// is no list or names a site twice.
MC_API std::vector<Site> parse_sites(const std::string& list, int64_t layers);
// Of a list such as "0,6-9,-1" or "all", in its order. Throws InvalidArgument for what is no list or names a
// layer twice, UnknownLayer.
MC_API std::vector<int> parse_layers(const std::string& list, int64_t layers);

enum class EditKind : uint8_t { Replace, Scale, ProjectOut, Add };

// What to write at a site: at chosen tokens, heads and keys; elsewhere not a bit changes.
struct Edit {
  EditKind kind = EditKind::Add;
  Site site;
  // Scale: not used. ProjectOut: a direction (d,), of any length. Replace, Add: a scalar, the values of one
  // token, or (n, values of a token), row p for the token at position p; tokens from n on stay. The values of
  // a token: (d,), per head (heads, d) or (d,) for all heads, of `pattern` (keys,), zero beyond its end.
  Array value;
  // Scale: x·factor. ProjectOut: x - factor·(x·u)u. Add: x + factor·value. Replace: factor·value.
  double factor = 1;
  // Absolute positions of tokens (the first of the sequence is 0), inclusive ranges; empty: all.
  std::vector<std::pair<int64_t, int64_t>> positions;
  std::vector<int> heads;                         // empty: all; only sites per head
  std::vector<std::pair<int64_t, int64_t>> keys;  // empty: all; only `pattern`
};
MC_API const char* edit_name(EditKind kind);
// Throws InvalidArgument or ShapeMismatch for what can't be done at that site, whatever the model.
MC_API void check_edit(const Edit& edit);

// What is read and written during one pass; made anew for each trace of a program.
class MC_API Sites {
 public:
  // The arrays that `edits` need, for programs that take them as arguments: values may change while the
  // program stays.
  static Arrays operands(const std::vector<Edit>& edits);
  // `positions` int32 (B, T) of the pass's tokens. `operands` as from operands(edits).
  Sites(std::vector<Site> taps, std::vector<Edit> edits, Arrays operands, Array positions);

  // Models call this where the site lies; x is returned as edited.
  Array visit(SiteKind kind, int layer, const Array& x);
  // The same for logits at other positions than the pass's: x (…, V), positions (…).
  Array visit_logits(const Array& x, const Array& positions);
  bool reads(SiteKind kind, int layer) const;
  bool writes(SiteKind kind, int layer) const;
  // By taps, after the pass. Throws UnknownSite for a site that was not visited (and for edits as well).
  Arrays values() const;
  // Without `logits`, which callers may visit later or elsewhere.
  void require_visited() const;

 private:
  Array edited(size_t edit, const Array& x, const Array& positions, bool pattern) const;
  std::vector<Site> taps_;
  std::vector<Edit> edits_;
  Arrays operands_;
  std::vector<size_t> first_operand_;
  Array positions_;
  Arrays values_;
  std::vector<bool> fired_;
};

// Costs nothing where nobody asks.
inline Array at_site(Sites* sites, SiteKind kind, int layer, const Array& x) {
  return sites ? sites->visit(kind, layer, x) : x;
}

}  // namespace mc
