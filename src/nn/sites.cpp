#include "mc/sites.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/ops.h"

namespace mc {
namespace {

constexpr SiteInfo kInfo[kSiteKinds] = {
    {"embed", false, false, "(batch, tokens, d)", "the embedding, scaled and with positions added where so"},
    {"resid_pre", true, false, "(batch, tokens, d)", "the residual stream as the block gets it"},
    {"attn_in", true, false, "(batch, tokens, d)", "what the projections of attention read: after its norm"},
    {"q", true, true, "(batch, tokens, heads, head_dim)", "queries after bias, norm and rotation"},
    {"k", true, true, "(batch, tokens, kv_heads, head_dim)", "keys after bias, norm and rotation"},
    {"v", true, true, "(batch, tokens, kv_heads, head_dim)", "values after bias"},
    {"pattern", true, true, "(batch, heads, tokens, keys)", "attention's weights after softmax"},
    {"heads", true, true, "(batch, tokens, heads, head_dim)",
     "each head's mixed values, before the output projection"},
    {"attn_out", true, false, "(batch, tokens, d)", "what attention adds to the residual stream"},
    {"mlp_in", true, false, "(batch, tokens, d)", "what the MLP reads: after its norm"},
    {"mlp_act", true, false, "(batch, tokens, ffn)",
     "the MLP's hidden layer, gated, before its last product"},
    {"mlp_out", true, false, "(batch, tokens, d)", "what the MLP adds to the residual stream"},
    {"resid_post", true, false, "(batch, tokens, d)", "the residual stream as the block leaves it"},
    {"final_norm", false, false, "(batch, tokens, d)", "after the last norm: what the head reads"},
    {"logits", false, false, "(batch, tokens, vocab)", "before softmax, capped where the model caps them"},
};

// Edits between a and b: what people mistype.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t up = row[j];
      row[j] = std::min({up + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = up;
    }
  }
  return row[b.size()];
}

SiteKind parse_kind(const std::string& name) {
  std::vector<std::pair<size_t, const char*>> near;
  for (int i = 0; i < kSiteKinds; ++i) {
    if (name == kInfo[i].name) return static_cast<SiteKind>(i);
    near.emplace_back(distance(name, kInfo[i].name), kInfo[i].name);
  }
  std::stable_sort(near.begin(), near.end(), [](auto& a, auto& b) { return a.first < b.first; });
  std::string all;
  for (const SiteInfo& s : kInfo) all += cat(all.empty() ? "" : ", ", s.name);
  throw Error(ErrorCode::UnknownSite, cat("there is no site '", name, "'"), "site",
              cat("nearest are ", near[0].second, " and ", near[1].second, "; the sites are ", all));
}

std::vector<std::string> parts_of(const std::string& list) {
  std::vector<std::string> out{""};
  for (char c : list) {
    if (c == ',')
      out.emplace_back();
    else
      out.back() += c;
  }
  return out;
}

std::optional<int64_t> integer(std::string_view s) {
  int64_t v = 0;
  const auto r = std::from_chars(s.data(), s.data() + s.size(), v);
  if (s.empty() || r.ec != std::errc() || r.ptr != s.data() + s.size()) return {};
  return v;
}

int checked_layer(int64_t layer, int64_t layers) {
  const int64_t l = layer < 0 ? layer + layers : layer;
  if (l < 0 || l >= layers)
    throw Error(ErrorCode::UnknownLayer, cat("layer ", layer, " is not in the model"), "layers",
                cat("it has ", layers, " layers: use 0 to ", layers - 1, ", or -", layers, " to -1"));
  return static_cast<int>(l);
}

// "3", "-1", "2-5", "-4--1", "all"
std::vector<int> layer_range(const std::string& part, int64_t layers) {
  std::vector<int> out;
  if (part == "all" || part == "*") {
    for (int i = 0; i < layers; ++i) out.push_back(i);
    return out;
  }
  if (const auto one = integer(part)) return {checked_layer(*one, layers)};
  const size_t dash = part.find('-', 1);
  const auto a = integer(std::string_view(part).substr(0, dash));
  const auto b = dash == std::string::npos ? std::nullopt : integer(std::string_view(part).substr(dash + 1));
  if (!a || !b)
    throw Error(ErrorCode::InvalidArgument, cat("'", part, "' names no layers"), "layers",
                "for example 0,6-9,-1 or all");
  const int first = checked_layer(*a, layers), last = checked_layer(*b, layers);
  if (first > last)
    throw Error(ErrorCode::InvalidArgument, cat("the range ", part, " runs backwards"), "layers",
                "write the lower layer first");
  for (int i = first; i <= last; ++i) out.push_back(i);
  return out;
}

// How many axes the values of one token have, as sites are read.
int token_rank(SiteKind kind) {
  return kInfo[static_cast<int>(kind)].per_head && kind != SiteKind::Pattern ? 2 : 1;
}

std::vector<int32_t> bounds(const std::vector<std::pair<int64_t, int64_t>>& ranges, bool high) {
  std::vector<int32_t> out;
  for (auto [a, b] : ranges) out.push_back(static_cast<int32_t>(std::min<int64_t>(high ? b : a, INT32_MAX)));
  return out;
}

// (…) bool: within any of the ranges lo..hi (r,).
Array within(const Array& at, const Array& lo, const Array& hi) {
  const Array x = expand_dims(at, {-1});
  return any(logical_and(greater_equal(x, lo), less_equal(x, hi)), {-1});
}

}  // namespace

const SiteInfo& site_info(SiteKind kind) { return kInfo[static_cast<int>(kind)]; }

std::string site_name(const Site& site) {
  const SiteInfo& info = site_info(site.kind);
  return info.per_layer ? cat(info.name, ".", site.layer) : info.name;
}

std::vector<int> parse_layers(const std::string& list, int64_t layers) {
  std::vector<int> out;
  for (const std::string& part : parts_of(list))
    for (int l : layer_range(part, layers)) {
      if (std::find(out.begin(), out.end(), l) != out.end())
        throw Error(ErrorCode::InvalidArgument, cat("layer ", l, " is asked for twice"), "layers");
      out.push_back(l);
    }
  return out;
}

std::vector<Site> parse_sites(const std::string& list, int64_t layers) {
  std::vector<Site> out;
  auto add = [&](Site s) {
    if (std::find(out.begin(), out.end(), s) != out.end())
      throw Error(ErrorCode::InvalidArgument, cat("site ", site_name(s), " is asked for twice"), "site");
    out.push_back(s);
  };
  for (const std::string& part : parts_of(list)) {
    const size_t dot = part.find('.');
    const SiteKind kind = parse_kind(part.substr(0, dot));
    const SiteInfo& info = site_info(kind);
    if (info.per_layer && dot == std::string::npos)
      throw Error(ErrorCode::InvalidArgument, cat("site ", info.name, " needs a layer"), "site",
                  cat("for example ", info.name, ".3, ", info.name, ".0-5, ", info.name, ".-1 or ", info.name,
                      ".all"));
    if (!info.per_layer && dot != std::string::npos)
      throw Error(ErrorCode::InvalidArgument, cat("a model has ", info.name, " once, not in each layer"),
                  "site", cat("write ", info.name));
    if (!info.per_layer)
      add({kind, 0});
    else
      for (int l : layer_range(part.substr(dot + 1), layers)) add({kind, l});
  }
  return out;
}

const char* edit_name(EditKind kind) {
  constexpr const char* kNames[] = {"replace", "scale", "project-out", "add"};
  return kNames[static_cast<int>(kind)];
}

void check_edit(const Edit& e) {
  const SiteInfo& info = site_info(e.site.kind);
  const std::string where = cat(edit_name(e.kind), " at ", site_name(e.site));
  auto refuse = [&](std::string what, std::string next = {}) {
    throw Error(ErrorCode::InvalidArgument, std::move(what), where, std::move(next));
  };
  if (e.kind == EditKind::Scale ? e.value.defined() : !e.value.defined())
    refuse(e.kind == EditKind::Scale ? "scale takes a factor, not an array" : "there is no value");
  if (!(e.factor - e.factor == 0)) refuse("the factor is not finite");
  if (!e.heads.empty() && !info.per_head) refuse("this site is not per head", "leave heads out");
  if (!e.keys.empty() && e.site.kind != SiteKind::Pattern) refuse("only pattern has keys", "leave keys out");
  for (const auto* ranges : {&e.positions, &e.keys})
    for (auto [a, b] : *ranges)
      if (a < 0 || b < a) refuse(cat("positions ", a, "-", b, " are no range"), "they count from 0");
  if (e.kind == EditKind::ProjectOut) {
    if (e.site.kind == SiteKind::Pattern) refuse("a pattern has no directions", "use scale or replace");
    if (e.value.ndim() != 1)
      throw Error(ErrorCode::ShapeMismatch, cat("a direction has one axis, got ", e.value.shape().str()),
                  where);
    if (!(sum(square(astype(e.value, Dtype::F32))).item<double>() > 0)) refuse("the direction has no length");
  }
  if (e.value.defined() && e.value.ndim() > token_rank(e.site.kind) + 1)
    throw Error(ErrorCode::ShapeMismatch,
                cat("a value of ", info.name, " has at most ", token_rank(e.site.kind) + 1, " axes, got ",
                    e.value.shape().str()),
                where);
}

Arrays Sites::operands(const std::vector<Edit>& edits) {
  Arrays out;
  for (const Edit& e : edits) {
    check_edit(e);
    out.push_back(Array(std::vector<float>{static_cast<float>(e.factor)}, {}));
    if (e.value.defined()) {
      Array v = astype(e.value, Dtype::F32);
      if (e.kind == EditKind::ProjectOut) {
        // The length in float64 on the host: engines agree on the direction's bits.
        std::vector<float> u = v.to_vector<float>();
        double length = 0;
        for (float x : u) length += static_cast<double>(x) * static_cast<double>(x);
        for (float& x : u) x = static_cast<float>(static_cast<double>(x) / std::sqrt(length));
        v = Array(u, v.shape());
      }
      out.push_back(v.eval());
    }
    for (const auto* ranges : {&e.positions, &e.keys}) {
      const int64_t n = static_cast<int64_t>(ranges->size());
      if (n == 0) continue;
      out.push_back(Array(bounds(*ranges, false), {n}));
      out.push_back(Array(bounds(*ranges, true), {n}));
    }
    if (!e.heads.empty())
      out.push_back(Array(std::vector<int32_t>(e.heads.begin(), e.heads.end()),
                          {static_cast<int64_t>(e.heads.size())}));
  }
  return out;
}

Sites::Sites(std::vector<Site> taps, std::vector<Edit> edits, Arrays operands, Array positions)
    : taps_(std::move(taps)),
      edits_(std::move(edits)),
      operands_(std::move(operands)),
      positions_(std::move(positions)),
      values_(taps_.size()),
      fired_(edits_.size()) {
  size_t n = 0;
  for (const Edit& e : edits_) {
    first_operand_.push_back(n);
    n += 1 + e.value.defined() + 2 * !e.positions.empty() + 2 * !e.keys.empty() + !e.heads.empty();
  }
  if (n != operands_.size())
    throw Error(ErrorCode::InvalidArgument, cat(operands_.size(), " operands for edits that need ", n),
                "sites", "pass Sites::operands(edits)");
}

bool Sites::reads(SiteKind kind, int layer) const {
  return std::find(taps_.begin(), taps_.end(), Site{kind, layer}) != taps_.end();
}
bool Sites::writes(SiteKind kind, int layer) const {
  return std::any_of(edits_.begin(), edits_.end(), [&](const Edit& e) {
    return e.site == Site{kind, layer};
  });
}

// x as it is read: (…tokens, [heads,] d); a pattern as (B, T, H, keys).
Array Sites::edited(size_t index, const Array& x, const Array& positions, bool pattern) const {
  const Edit& e = edits_[index];
  size_t o = first_operand_[index];
  const Array factor = operands_[o++];
  const Array value = e.value.defined() ? operands_[o++] : Array();
  const int tokens = positions.ndim(), features = x.ndim() - tokens;
  auto widen = [&](Array a) {  // (tokens…) -> (tokens…, 1 …)
    for (int i = 0; i < features; ++i) a = expand_dims(a, {-1});
    return a;
  };
  Array mask;
  auto also = [&](const Array& m) { mask = mask.defined() ? logical_and(mask, m) : m; };
  if (!e.positions.empty()) {
    also(widen(within(positions, operands_[o], operands_[o + 1])));
    o += 2;
  }
  if (!e.keys.empty()) {
    also(within(arange(static_cast<int>(x.shape(-1))), operands_[o], operands_[o + 1]));
    o += 2;
  }
  if (!e.heads.empty()) {
    const int64_t h = x.shape(-2);
    for (int head : e.heads)
      if (head < 0 || head >= h)
        throw Error(ErrorCode::IndexOutOfRange, cat("head ", head, " is not in ", site_name(e.site)), "edit",
                    cat("it has ", h, " heads: 0 to ", h - 1));
    also(expand_dims(any(equal(expand_dims(arange(static_cast<int>(h)), {-1}), operands_[o]), {-1}), {-1}));
    ++o;
  }
  const Array wide = x.dtype() == Dtype::F64 ? x : astype(x, Dtype::F32);
  Array v = value;
  if (v.defined() && v.ndim() > 0 && e.kind != EditKind::ProjectOut) {
    const int64_t keys = x.shape(-1);
    if (pattern && v.shape(-1) < keys) {
      std::vector<std::pair<int64_t, int64_t>> w(static_cast<size_t>(v.ndim()));
      w.back().second = keys - v.shape(-1);
      v = pad(v, w);
    } else if (pattern && v.shape(-1) > keys) {
      v = slice_axis(v, -1, 0, keys);
    }
    // Rows by position: one axis more than a token's values, or two where all heads share the last.
    const int rank = token_rank(e.site.kind);
    bool rows = v.ndim() == rank + 1;
    if (!rows && rank == 2 && v.ndim() == 2 && v.shape(0) != x.shape(-2)) {
      rows = true;
      v = expand_dims(v, {1});
    }
    if (pattern && rows) v = expand_dims(v, {1});
    if (rows) {
      const int64_t n = v.shape(0);
      also(widen(less(positions, Array(static_cast<int>(n)))));
      v = take(v, minimum(positions, Array(static_cast<int>(n - 1))), 0);
    }
  }
  if (v.defined() && v.ndim() > 0 && v.shape(-1) != x.shape(-1) && !(v.shape(-1) == 1 && v.ndim() > 1))
    throw Error(ErrorCode::ShapeMismatch,
                cat("the value ends in ", v.shape(-1), " numbers, ", site_name(e.site), " in ", x.shape(-1)),
                "edit");
  Array y;
  switch (e.kind) {
    case EditKind::Scale: y = wide * factor; break;
    case EditKind::Replace: y = broadcast_to(v * factor, wide.shape()); break;
    case EditKind::Add: {
      // A zero leaves the bits alone, that of -0 as well.
      const Array step = v * factor;
      y = where(not_equal(step, Array(0.f)), wide + step, wide);
      break;
    }
    case EditKind::ProjectOut: {
      const Array step = expand_dims(sum(wide * v, {-1}), {-1}) * v * factor;
      y = where(not_equal(step, Array(0.f)), wide - step, wide);
      break;
    }
  }
  if (mask.defined()) y = where(mask, y, wide);
  return astype(y, x.dtype());
}

Array Sites::visit(SiteKind kind, int layer, const Array& x) {
  const bool written = writes(kind, layer), read = reads(kind, layer);
  if (!written && !read) return x;
  // q, k, v and heads come as (B, H, T, d), a pattern as (B, H, T, S).
  const bool swap = site_info(kind).per_head, pattern = kind == SiteKind::Pattern;
  Array y = x;
  if (written) {
    y = swap ? transpose(x, {0, 2, 1, 3}) : x;
    for (size_t i = 0; i < edits_.size(); ++i)
      if (edits_[i].site == Site{kind, layer}) {
        y = edited(i, y, positions_, pattern);
        fired_[i] = true;
      }
    if (swap) y = transpose(y, {0, 2, 1, 3});
  }
  for (size_t i = 0; i < taps_.size(); ++i)
    if (taps_[i] == Site{kind, layer}) values_[i] = swap && !pattern ? transpose(y, {0, 2, 1, 3}) : y;
  return y;
}

Array Sites::visit_logits(const Array& x, const Array& positions) {
  Array y = x;
  for (size_t i = 0; i < edits_.size(); ++i)
    if (edits_[i].site.kind == SiteKind::Logits) {
      y = edited(i, y, positions, false);
      fired_[i] = true;
    }
  for (size_t i = 0; i < taps_.size(); ++i)
    if (taps_[i].kind == SiteKind::Logits) values_[i] = y;
  return y;
}

Arrays Sites::values() const {
  require_visited();
  return values_;
}

void Sites::require_visited() const {
  auto missing = [](const Site& s) {
    throw Error(ErrorCode::UnknownSite,
                cat("site ", site_name(s), " never fired: this model has nothing there"), "site",
                "docs/sites.md lists what each architecture has");
  };
  for (size_t i = 0; i < taps_.size(); ++i)
    if (!values_[i].defined() && taps_[i].kind != SiteKind::Logits) missing(taps_[i]);
  for (size_t i = 0; i < edits_.size(); ++i)
    if (!fired_[i] && edits_[i].site.kind != SiteKind::Logits) missing(edits_[i].site);
}

}  // namespace mc
