#include "sampling.h"

#include "mc/detail/str.h"

namespace mc::tool {

std::vector<Option> sampling_options() {
  constexpr double kBig = 1e9;
  return {
      {"max-tokens", Kind::Integer, "N", "stop after so many tokens (default 128; of chat 1024)", 0, kBig},
      {"temperature", Kind::Real, "X",
       "0 takes the most probable token (default), 1 samples the model's distribution", 0, 100},
      {"top-k", Kind::Integer, "N", "sample from the N most probable tokens only (0: all)", 0, kBig},
      {"top-p", Kind::Real, "X", "sample from the most probable tokens up to this mass (1: all)", 0, 1},
      {"min-p", Kind::Real, "X", "drop tokens less probable than this share of the best (0: none)", 0, 1},
      {"repetition-penalty", Kind::Real, "X", "above 1: tokens seen before become less probable (1: off)",
       1e-3, 1e3},
      {"stop", Kind::Text, "TEXT", "end before this text", 0, 0, true},
      {"chunk", Kind::Integer, "N",
       "prompt tokens in one pass; never changes the result (default 512, and no pass takes more)", 1,
       1 << 20}};
}

GenerateOptions sampling_from(const Args& args) {
  GenerateOptions o;
  o.max_tokens = args.integer("max-tokens", 128);
  o.sampling.temperature = args.real("temperature", 0);
  o.sampling.top_k = args.integer("top-k", 0);
  o.sampling.top_p = args.real("top-p", 1);
  if (o.sampling.top_p == 0) usage_error("needs a number above 0 and at most 1, got 0", "--top-p");
  o.sampling.min_p = args.real("min-p", 0);
  o.sampling.repetition_penalty = args.real("repetition-penalty", 1);
  o.sampling.seed = static_cast<uint64_t>(args.integer("seed", 0));
  o.stop = args.all("stop");
  o.chunk = args.integer("chunk", o.chunk);
  for (const char* name : {"top-k", "top-p", "min-p"})
    if (args.has(name) && o.sampling.temperature == 0)
      usage_error("has no effect at temperature 0, which always takes the most probable token",
                  cat("--", name), "add --temperature 0.8");
  for (const std::string& s : o.stop)
    if (s.empty()) usage_error("an empty string would stop at once", "--stop");
  return o;
}

double per_second(double n, double seconds) { return seconds > 0 ? n / seconds : 0; }

}  // namespace mc::tool
