// MB/s of a tokenizer, ids only and ids with spans, on one thread.
//
// usage: tokenizer_bench TOKENIZER TEXT [ROUNDS]      a tokenizer.json, a GGUF file or a directory; the best
// round counts
#include <cstdio>
#include <string>

#include "clock.h"
#include "mc/error.h"
#include "mc/file.h"
#include "mc/model.h"
#include "mc/text.h"

namespace {

template <class F>
double rate(const std::string& text, int rounds, F&& f) {
  return static_cast<double>(text.size()) / 1e6 / bench::shortest(rounds, f);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: tokenizer_bench TOKENIZER TEXT [ROUNDS]\n");
    return 2;
  }
  try {
    const int rounds = argc > 3 ? std::stoi(argv[3]) : 5;
    const auto t = mc::load_tokenizer(argv[1]);
    const std::string text = mc::read_small_file(argv[2], size_t{1} << 30);
    size_t tokens = 0;
    const double ids = rate(text, rounds, [&] { tokens = t->encode(text).size(); });
    const double spans = rate(text, rounds, [&] { t->encode_with_spans(text); });
    std::printf("%.2f MB  %zu tokens  ids %.2f MB/s  with spans %.2f MB/s\n",
                static_cast<double>(text.size()) / 1e6, tokens, ids, spans);
  } catch (const mc::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
  return 0;
}
