// Tokens/s of a capture, from the prompts' text to whole files on the disk, beside a plain prefill of the
// same batches of the same tokens, in turn.
//
// usage: capture_bench MODEL DATA.jsonl FOLDER [ROUNDS [BATCH]]
//        Layers 0, 6, 12, 18 and 24 of all tokens, and of the last one, of every prompt in DATA go to FOLDER,
//        which must not exist and is removed.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <tuple>
#include <vector>

#include "clock.h"
#include "mc/error.h"
#include "mc/generate.h"
#include "mc/jsonl.h"
#include "mc/model.h"
#include "mc/probe.h"

namespace {

// Batches as `capture` makes them: padded to a multiple of 8 tokens.
struct Batch {
  std::vector<int32_t> ids, lengths;
};

std::vector<Batch> batches_of(const mc::Model& model, const std::string& data, size_t rows, int64_t& tokens) {
  std::vector<std::vector<int32_t>> all;
  mc::TextLines lines(data);
  for (std::string text; lines.next(text);) all.push_back(model.tokenizer().encode(text));
  std::vector<Batch> out;
  for (size_t at = 0; at < all.size(); at += rows) {
    const size_t end = std::min(at + rows, all.size());
    size_t width = 0;
    for (size_t i = at; i < end; ++i) width = std::max(width, (all[i].size() + 7) / 8 * 8);
    Batch b{std::vector<int32_t>(rows * width), std::vector<int32_t>(rows, 1)};
    for (size_t i = at; i < end; ++i) {
      std::copy(all[i].begin(), all[i].end(), b.ids.begin() + static_cast<std::ptrdiff_t>((i - at) * width));
      b.lengths[i - at] = static_cast<int32_t>(all[i].size());
      tokens += static_cast<int64_t>(all[i].size());
    }
    out.push_back(std::move(b));
  }
  return out;
}

double middle(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

int run(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: capture_bench MODEL DATA.jsonl FOLDER [ROUNDS [BATCH]]\n");
    return 2;
  }
  const int rounds = argc > 4 ? std::stoi(argv[4]) : 5, rows = argc > 5 ? std::stoi(argv[5]) : 4;
  const auto model = mc::load_model(argv[1]);
  int64_t tokens = 0;
  const std::vector<Batch> batches = batches_of(*model, argv[2], static_cast<size_t>(rows), tokens);
  mc::Session session(model, rows);
  auto prefill = [&] {
    for (const Batch& b : batches) {
      session.reset();
      session.run(b.ids, mc::kMaxPass, false, {}, nullptr, b.lengths).eval();
    }
  };
  auto captured = [&](mc::Pool pool) {
    mc::CaptureOptions o;
    o.data = argv[2];
    o.out = argv[3];
    o.batch_size = rows;
    o.pool = pool;
    for (int layer : {0, 6, 12, 18, 24})
      o.sites.push_back({mc::SiteKind::ResidPost, static_cast<int>(layer % model->config().layers)});
    const double t = bench::shortest(1, [&] { mc::capture(model, o); });
    std::filesystem::remove_all(argv[3]);
    return t;
  };
  prefill();
  captured(mc::Pool::None);
  std::vector<double> plain, all, last;  // ratios pair runs that stand side by side in time
  std::vector<double> all_ratio, last_ratio;
  for (int i = 0; i < rounds; ++i) {
    plain.push_back(bench::shortest(1, prefill));
    all.push_back(captured(mc::Pool::None));
    last.push_back(captured(mc::Pool::Last));
    const double after = bench::shortest(1, prefill);
    all_ratio.push_back((plain.back() + after) / 2 / all.back());
    last_ratio.push_back((plain.back() + after) / 2 / last.back());
  }
  const double n = static_cast<double>(tokens);
  std::printf("%lld tokens, batches of %d\n", static_cast<long long>(tokens), rows);
  std::printf("plain prefill         %7.0f tokens/s\n", n / middle(plain));
  for (const auto& [name, times, ratios] : {std::tuple("capture, all tokens  ", all, all_ratio),
                                            std::tuple("capture, last token  ", last, last_ratio)})
    std::printf("%s %7.0f tokens/s, ratio %.3f (%.3f to %.3f)\n", name, n / middle(times), middle(ratios),
                *std::min_element(ratios.begin(), ratios.end()),
                *std::max_element(ratios.begin(), ratios.end()));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "capture_bench: %s\n", e.what());
    return 1;
  }
}
