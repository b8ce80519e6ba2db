// Handover, not a finished test: what was checked of sites on a real model (argument: a GGUF file). To become sites_test.cpp
// on a tiny file before this branch lands; remove this file then.
#include <cmath>
#include <cstdio>
#include <cstring>
#include "mc/mc.h"
#include "mc/sites.h"
using namespace mc;
static bool same(const Array& a, const Array& b) {
  std::vector<char> x(a.nbytes()), y(b.nbytes());
  if (x.size() != y.size()) return false;
  a.to_bytes(x.data()); b.to_bytes(y.data());
  return !std::memcmp(x.data(), y.data(), x.size());
}
int main(int, char** v) {
  for (auto dt : {Dtype::F32, Dtype::BF16}) {
  auto m = load_model(v[1], {.fast = false, .dtype = dt});
  const int L = (int)m->config().layers;
  auto ids = m->tokenizer().encode("The capital of France is Paris, and the river runs through it.");
  std::string all = "embed,final_norm,logits";
  for (auto s : {"resid_pre","attn_in","q","k","v","pattern","heads","attn_out","mlp_in","mlp_act","mlp_out","resid_post"}) all += std::string(",") + s + ".all";
  auto taps = parse_sites(all, L);
  Session a(m), b(m), c(m);
  Arrays t, t2;
  Array h = a.run(ids, 512, true), g = b.run(ids, 512, true, taps, &t);
  c.run(ids, 5, true, taps, &t2);
  int diff = 0; std::string which;
  for (size_t i = 0; i < t.size(); ++i) if (!same(t[i], t2[i])) { ++diff; which = site_name(taps[i]); }
  printf("%s: %zu taps, hidden same %d, taps differing with chunks of 5: %d %s\n", dtype_name(dt).data(), taps.size(), same(h, g), diff, which.c_str());
  auto at = [&](SiteKind k, int l) { for (size_t i = 0; i < taps.size(); ++i) if (taps[i] == Site{k, l}) return t[i]; return Array(); };
  if (dt == Dtype::F32) {
    Array sum3 = at(SiteKind::ResidPre, 3) + at(SiteKind::AttnOut, 3) + at(SiteKind::MlpOut, 3);
    printf(" pre+attn+mlp-post max %g\n", max(abs(sum3 - at(SiteKind::ResidPost, 3))).item());
    Array p = at(SiteKind::Pattern, 3), val = at(SiteKind::V, 3), hd = at(SiteKind::Heads, 3);
    int64_t G = p.shape(1) / val.shape(2);
    Array want = transpose(matmul(p, repeat(transpose(val, {0,2,1,3}), G, 1)), {0,2,1,3});
    printf(" pattern.v - heads max %g of %g; pattern %s rows sum to %g\n", max(abs(want - hd)).item(), max(abs(hd)).item(), p.shape().str().c_str(), min(sum(p, {-1})).item());
  }
  const int d = (int)m->config().hidden;
  std::vector<float> r(d); for (int i = 0; i < d; ++i) r[i] = std::sin(i * 1.3f) * 20;
  Array vec(r, {d});
  auto base = generate(m, ids, {.max_tokens = 12, .logprobs = true});
  auto run = [&](Edit e) { GenerateOptions o; o.max_tokens = 12; o.logprobs = true; o.edits = {e}; return generate(m, ids, o); };
  Edit add{EditKind::Add, {SiteKind::ResidPost, L/2}, vec};
  auto steered = run(add); add.factor = 0; auto zero = run(add);
  printf(" steer changes %d, zero same %d\n", steered.ids != base.ids, zero.ids == base.ids && zero.logprobs == base.logprobs);
  GenerateOptions og; og.max_tokens = 12; og.edits = {add}; og.edits[0].factor = 1;
  printf(" greedy step = logits step under the edit %d\n", generate(m, ids, og).ids == steered.ids);
  // ablation and patch seen at the site itself
  Edit po{EditKind::ProjectOut, {SiteKind::ResidPost, 2}, vec};
  Edit rep{EditKind::Replace, {SiteKind::AttnOut, 4}, scalar(0.0f)}; rep.positions = {{2, 3}};
  Edit hz{EditKind::Scale, {SiteKind::Heads, 5}, {}, 0.0}; hz.heads = {1};
  Edit ko{EditKind::Scale, {SiteKind::Pattern, 6}, {}, 0.0}; ko.keys = {{0, 0}};
  Session e(m, 1, {po, rep, hz, ko}); Arrays u;
  e.run(ids, 512, true, parse_sites("resid_post.2,attn_out.4,heads.5,pattern.6,resid_post.1", L), &u); e.require_fired();
  Array f0 = astype(u[0], Dtype::F32);
  printf(" along dir after %g (norm %g); rows 2-3 %g row 1 %g; head1 %g head0 %g; key0 %g key1 %g; before the edit same %d\n",
    max(abs(matmul(f0, vec))).item() / norm(vec).item(), max(abs(f0)).item(), max(abs(slice_axis(u[1], 1, 2, 4))).item(), max(abs(slice_axis(u[1], 1, 1, 2))).item(),
    max(abs(slice_axis(u[2], 2, 1, 2))).item(), max(abs(slice_axis(u[2], 2, 0, 1))).item(), max(abs(slice_axis(u[3], 3, 0, 1))).item(), max(abs(slice_axis(u[3], 3, 1, 2))).item(), same(u[4], at(SiteKind::ResidPost, 1)));
  // self patch: replace by what was there, by position
  Edit self{EditKind::Replace, {SiteKind::ResidPost, 7}, reshape(at(SiteKind::ResidPost, 7), {-1, d})};
  ScoreOptions so; so.edits = {self};
  printf(" self patch same %d\n", score(m, {ids}, so) == score(m, {ids}));
  for (auto s : {"resid_pots.3", "resid_post", "resid_post.99", "embed.1", "resid_post.5-2"}) try { parse_sites(s, L); puts(" NO ERROR"); } catch (const Error& x) { printf(" %s\n", x.what()); }
  try { Edit far{EditKind::Scale, {SiteKind::ResidPost, 1}, {}, 2.0}; far.positions = {{500, 600}}; ScoreOptions q; q.edits = {far}; score(m, {ids}, q); puts(" NO ERROR"); } catch (const Error& x) { printf(" %s\n", x.what()); }
  try { score(nullptr, {ids}); puts(" NO ERROR"); } catch (const Error& x) { printf(" %s\n", x.what()); }
  try { generate(nullptr, ids, {}); puts(" NO ERROR"); } catch (const Error& x) { printf(" %s\n", x.what()); }
  }
}
