// Reading and writing inside a model: on files of a few numbers, for both shapes of block.
#include "mc/sites.h"

#include <gtest/gtest.h>

#include <cmath>

#include "mc/generate.h"
#include "mc/mc.h"
#include "mc/model.h"
#include "tiny_model.h"

namespace mc {
namespace {

constexpr int kLayers = 3;
const std::vector<int32_t> kIds = {0, 1, 2, 3, 4, 5, 6, 7, 1, 2, 3};
const int64_t kTokens = static_cast<int64_t>(kIds.size());

std::vector<char> bytes(const Array& a) {
  std::vector<char> out(a.nbytes());
  a.to_bytes(out.data());
  return out;
}
double largest(const Array& a) { return max(abs(astype(a, Dtype::F32))).item<double>(); }
Array direction(double size) {
  std::vector<float> v(32);
  for (size_t i = 0; i < v.size(); ++i)
    v[i] = static_cast<float>(size * std::sin(static_cast<double>(i) * 1.3));
  return Array(v, {32});
}
template <typename F>
std::string message(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return cat(e.what(), " ", e.next());
  }
  return "no error";
}

class SitesOf : public ::testing::TestWithParam<std::tuple<const char*, Dtype>> {
 protected:
  SitesOf()
      : file_(std::get<0>(GetParam()), {}, kLayers),
        model_(load_model(file_.path(), {.fast = false, .dtype = std::get<1>(GetParam())})) {}
  Array read(const char* site, std::vector<Edit> edits = {}) {
    Session s(model_, 1, std::move(edits));
    Arrays out;
    s.run(kIds, kMaxPass, true, parse_sites(site, kLayers), &out);
    return out[0];
  }
  std::vector<double> scored(std::vector<Edit> edits) {
    return score(model_, {kIds}, {.edits = std::move(edits)})[0];
  }
  static Edit edit(EditKind kind, const char* site, Array value = {}, double factor = 1) {
    Edit e;
    e.kind = kind;
    e.site = parse_sites(site, kLayers)[0];
    e.value = std::move(value);
    e.factor = factor;
    return e;
  }
  TinyFile file_;
  std::shared_ptr<Model> model_;
};

std::string every_site() {
  std::string all;
  for (int k = 0; k < kSiteKinds; ++k) {
    const SiteInfo& i = site_info(static_cast<SiteKind>(k));
    all += cat(all.empty() ? "" : ",", i.name, i.per_layer ? ".all" : "");
  }
  return all;
}

TEST_P(SitesOf, ReadingChangesNoBitAndChunksNeither) {
  const std::vector<Site> taps = parse_sites(every_site(), kLayers);
  Session plain(model_), read(model_), chunked(model_);
  Arrays whole, parts;
  const Array h = plain.run(kIds, kMaxPass, true), g = read.run(kIds, kMaxPass, true, taps, &whole);
  chunked.run(kIds, 4, true, taps, &parts);
  EXPECT_EQ(bytes(h), bytes(g));
  ASSERT_EQ(whole.size(), taps.size());
  for (size_t i = 0; i < taps.size(); ++i) {
    EXPECT_EQ(whole[i].shape(), parts[i].shape()) << site_name(taps[i]);
    EXPECT_EQ(bytes(whole[i]), bytes(parts[i])) << site_name(taps[i]);
  }
}

TEST_P(SitesOf, TheStreamIsTheSumOfItsParts) {
  const Array sum = read("resid_pre.1") + read("attn_out.1") + read("mlp_out.1");
  const bool wide = std::get<1>(GetParam()) == Dtype::F32;
  if (wide)
    EXPECT_EQ(bytes(sum), bytes(read("resid_post.1")));
  else  // two roundings, in another order
    EXPECT_LE(largest(sum - read("resid_post.1")), 0x1p-7 * largest(sum));
  EXPECT_EQ(bytes(read("resid_post.0")), bytes(read("resid_pre.1")));
  EXPECT_EQ(bytes(read("embed")), bytes(read("resid_pre.0")));
  // Each head's values are the pattern's mixture of v; rows of a pattern sum to 1.
  const Array p = read("pattern.1"), v = transpose(read("v.1"), {0, 2, 1, 3});
  const Array mixed = transpose(matmul(p, repeat(v, p.shape(1) / v.shape(1), 1)), {0, 2, 1, 3});
  EXPECT_LT(largest(mixed - read("heads.1")), (wide ? 1e-6 : 0x1p-7) * largest(mixed));
  EXPECT_LT(largest(mc::sum(p, {-1}) - 1), 1e-6);
}

TEST_P(SitesOf, AnEditIsSeenWhereItIsWrittenAndNowhereBefore) {
  const bool wide = std::get<1>(GetParam()) == Dtype::F32;
  const Array v = direction(5);
  const Edit away = edit(EditKind::ProjectOut, "resid_post.1", v);
  EXPECT_LT(largest(matmul(astype(read("resid_post.1", {away}), Dtype::F32), v)) / largest(v),
            (wide ? 1e-5 : 0.05) * largest(read("resid_post.1")));
  EXPECT_EQ(bytes(read("resid_post.0", {away})), bytes(read("resid_post.0")));
  EXPECT_NE(bytes(read("resid_post.2", {away})), bytes(read("resid_post.2")));

  Edit zero = edit(EditKind::Replace, "attn_out.1", scalar(0.0f));
  zero.positions = {{2, 3}};
  const Array a = read("attn_out.1", {zero}), before = read("attn_out.1");
  EXPECT_EQ(largest(slice_axis(a, 1, 2, 4)), 0);
  EXPECT_EQ(bytes(slice_axis(a, 1, 0, 2)), bytes(slice_axis(before, 1, 0, 2)));
  EXPECT_EQ(bytes(slice_axis(a, 1, 4, kTokens)), bytes(slice_axis(before, 1, 4, kTokens)));

  Edit head = edit(EditKind::Scale, "heads.1", {}, 0);
  head.heads = {1};
  const Array h = read("heads.1", {head});
  EXPECT_EQ(largest(slice_axis(h, 2, 1, 2)), 0);
  EXPECT_EQ(bytes(slice_axis(h, 2, 0, 1)), bytes(slice_axis(read("heads.1"), 2, 0, 1)));

  Edit key = edit(EditKind::Scale, "pattern.1", {}, 0);
  key.keys = {{0, 0}};
  const Array p = read("pattern.1", {key});
  EXPECT_EQ(largest(slice_axis(p, 3, 0, 1)), 0);
  EXPECT_GT(largest(slice_axis(p, 3, 1, 2)), 0);
}

TEST_P(SitesOf, PatchingWithWhatIsThereChangesNothing) {
  const std::vector<double> plain = scored({});
  EXPECT_EQ(scored({edit(EditKind::Replace, "resid_post.1", reshape(read("resid_post.1"), {-1, 32}))}),
            plain);
  EXPECT_EQ(scored({edit(EditKind::Add, "resid_post.1", direction(5), 0)}), plain);
  EXPECT_NE(scored({edit(EditKind::Add, "resid_post.1", direction(5))}), plain);
  EXPECT_NE(scored({edit(EditKind::Scale, "logits", {}, 2)}), plain);
}

TEST_P(SitesOf, PatchedStatesCarryOverWhatFollows) {
  // The stream of another text, written in place of this one's after layer 1, gives the other text's logits.
  const std::vector<int32_t> other(kIds.rbegin(), kIds.rend());
  Session s(model_);
  Arrays theirs;
  const Array want = s.run(other, kMaxPass, true, parse_sites("resid_post.2", kLayers), &theirs);
  Session patched(model_, 1, {edit(EditKind::Replace, "resid_post.2", reshape(theirs[0], {-1, 32}))});
  EXPECT_EQ(bytes(patched.run(kIds, kMaxPass, true)), bytes(want));
}

TEST_P(SitesOf, SteeringReachesGreedyAndSampledTokens) {
  GenerateOptions o;
  o.max_tokens = 8;
  o.ignore_eos = true;
  o.logprobs = true;
  const GenerateResult plain = generate(model_, kIds, o);
  o.edits = {edit(EditKind::Add, "resid_post.1", direction(50))};
  const GenerateResult steered = generate(model_, kIds, o);
  o.logprobs = false;  // the step that takes the best token on the engine
  EXPECT_EQ(generate(model_, kIds, o).ids, steered.ids);
  EXPECT_NE(steered.logprobs, plain.logprobs);
  o.logprobs = true;
  o.edits[0].factor = 0;
  const GenerateResult zero = generate(model_, kIds, o);
  EXPECT_EQ(zero.ids, plain.ids);
  EXPECT_EQ(zero.logprobs, plain.logprobs);
}

TEST_P(SitesOf, WhatCantBeDoneIsRefused) {
  Edit far = edit(EditKind::Scale, "resid_post.1", {}, 2);
  far.positions = {{500, 600}};
  EXPECT_NE(message([&] { scored({far}); }).find("never fired"), std::string::npos);
  Edit head = edit(EditKind::Scale, "heads.1", {}, 0);
  head.heads = {7};
  EXPECT_NE(message([&] { scored({head}); }).find("head 7"), std::string::npos);
  EXPECT_NE(message([&] {
              scored({edit(EditKind::Add, "resid_post.1", slice(direction(1), {0}, {5}))});
            }).find("ends in 5"),
            std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Models, SitesOf,
                         ::testing::Combine(::testing::Values("llama", "gemma3"),
                                            ::testing::Values(Dtype::F32, Dtype::BF16)),
                         [](const auto& i) {
                           return cat(std::get<0>(i.param), "_", dtype_name(std::get<1>(i.param)));
                         });

// What a failed pass leaves: the conversation goes on, with the same bits.
TEST(Sessions, GoOnAfterAMemoryLimit) {
  const TinyFile file("llama", {}, kLayers);
  const auto model = load_model(file.path(), {});
  Session whole(model), broken(model);
  const auto feed = [](Session& s) { return bytes(s.run(kIds, kMaxPass, true)); };
  EXPECT_EQ(feed(whole), feed(broken));
  const Device device = default_device();
  const size_t before = set_memory_limit(device, 1);
  EXPECT_NE(message([&] { broken.step_logits(5); }).find("limit"), std::string::npos);
  set_memory_limit(device, before);
  EXPECT_EQ(bytes(whole.step_logits(5)), bytes(broken.step_logits(5)));
  EXPECT_EQ(whole.position(), broken.position());
  broken.reset();
  Session fresh(model);
  EXPECT_EQ(feed(fresh), feed(broken));
}

TEST(Sessions, RefuseWhatTheyCanNotDo) {
  const TinyFile file("llama", {}, kLayers);
  const auto model = load_model(file.path(), {});
  Session a(model), b(std::move(a));
  EXPECT_NE(message([&] { a.position(); }).find("moved away"), std::string::npos);
  EXPECT_EQ(b.position(), 0);
  EXPECT_NE(message([&] { score(model, {kIds}, {.chunk = -1}); }).find("at least one token"),
            std::string::npos);
  EXPECT_NE(message([&] { generate(model, kIds, {.stop = {""}}, {}); }).find("empty string"),
            std::string::npos);
  EXPECT_NE(message([&] {
              DeviceScope({default_device().backend, 77});
            }).find("not one of number 77"),
            std::string::npos);
}

TEST(Sites, NamesAndRanges) {
  auto names = [](const char* list) {
    std::string all;
    for (const Site& s : parse_sites(list, 6)) all += cat(all.empty() ? "" : " ", site_name(s));
    return all;
  };
  EXPECT_EQ(names("embed,resid_post.-1,q.1-3"), "embed resid_post.5 q.1 q.2 q.3");
  EXPECT_EQ(names("v.-2--1"), "v.4 v.5");
  EXPECT_EQ(parse_layers("all", 3), (std::vector<int>{0, 1, 2}));
  const std::pair<const char*, const char*> bad[] = {{"resid_pots.3", "nearest are resid_post"},
                                                     {"resid_post", "needs a layer"},
                                                     {"resid_post.6", "layer 6 is not"},
                                                     {"embed.1", "has embed once"},
                                                     {"resid_post.5-2", "runs backwards"},
                                                     {"q.1,q.0-2", "asked for twice"},
                                                     {"", "no site ''"},
                                                     {"q.", "names no layers"},
                                                     {"q.1x", "names no layers"},
                                                     {"q.99999999999999999999", "names no layers"}};
  for (auto [list, part] : bad)
    EXPECT_NE(message([&] { parse_sites(list, 6); }).find(part), std::string::npos)
        << list << ": " << message([&] { parse_sites(list, 6); });
}

TEST(Sites, EditsAreCheckedBeforeAModelSeesThem) {
  Edit e;
  e.site = {SiteKind::ResidPost, 1};
  EXPECT_NE(message([&] { check_edit(e); }).find("no value"), std::string::npos);
  e.value = zeros({4});
  e.kind = EditKind::ProjectOut;
  EXPECT_NE(message([&] { check_edit(e); }).find("no length"), std::string::npos);
  e.kind = EditKind::Scale;
  EXPECT_NE(message([&] { check_edit(e); }).find("takes a factor"), std::string::npos);
  e.value = {};
  e.factor = NAN;
  EXPECT_NE(message([&] { check_edit(e); }).find("not finite"), std::string::npos);
  e.factor = 1;
  e.heads = {0};
  EXPECT_NE(message([&] { check_edit(e); }).find("not per head"), std::string::npos);
  e.heads = {};
  e.positions = {{3, 1}};
  EXPECT_NE(message([&] { check_edit(e); }).find("no range"), std::string::npos);
}

}  // namespace
}  // namespace mc
