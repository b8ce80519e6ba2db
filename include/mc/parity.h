// Proof of agreement: one model and the same tokens on several engines, against a float64 oracle.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "mc/model.h"

namespace mc {

// The stated bound. The oracle runs twice on the host engine: exactly (float64 throughout), and with random
// relative noise of the dtype's rounding unit u on every value that an engine rounds to the dtype: each site
// of the model, the residual stream after each sum, what goes into and comes out of every product, there with
// 2^-24·sqrt(n) for a float32 sum of n terms (and half an int8 step with `fast`). What the noise does to a
// row of a layer, at the most of four draws, is what roundings may do there, condition of the model and of
// the text included; an engine may be kParityFactor times as far from the oracle in every row.
inline constexpr double kParityFactor = 4;

struct ParityOptions {
  std::vector<std::string> engines;  // "engine" or "engine:device", as parse_device takes them; at least one
  std::vector<std::string> texts;    // at least one
  LoadOptions load;                  // of the engines: F32, BF16 or F16
  std::vector<int64_t> layers;       // whose residual stream is compared; empty: all
  int64_t tokens = 32;               // of each text, at most; 2 to 512
  int64_t greedy = 8;                // tokens to generate and compare; 0: none
};

// Errors are per row (one token of one text): ‖engine - oracle‖₂ / ‖oracle‖₂ in ulps, units of the dtype's
// eps.
struct ParityPart {
  std::string name;  // "layer.3", "logits"
  double mean_ulps = 0, max_ulps = 0;
  double bound_ulps = 0;  // of the row that comes nearest to its bound
  double worst = 0;       // the largest share of its bound that a row uses: above 1 is a breach
  int64_t text = 0, token = 0, feature = 0;  // of that row; `feature` has its largest error
  double got = 0, wanted = 0;                // there
  bool ok = true;
};

// A position where the best tokens are closer to each other than the bound of their logits, and two answers
// differ.
struct ParityTie {
  int64_t text = 0, token = 0;
  int32_t oracle = 0, engine = 0;
  double gap = 0, bound = 0;  // of the oracle's logits
};

struct ParityBytes {
  std::string tensor, format;  // "affine4:64"
  std::string sha256;          // of words, scales and biases as the engine packs them
  bool equal = false;          // to the host engine's
  std::string skipped;         // why it was not compared
};

struct ParityEngine {
  std::string name, device;
  bool available = false;
  std::string message, fix;        // when it is not, or failed
  std::vector<ParityPart> parts;   // layers in order, then logits
  double mean_kl = 0, max_kl = 0;  // KL(oracle ‖ engine) in nats
  double kl_bound = 0;             // of the mean
  int64_t positions = 0, agreeing = 0;
  std::vector<ParityTie> ties, misses;  // misses: the best token differs beyond the bound
  std::vector<int32_t> greedy;
  int64_t greedy_equal = 0;  // leading tokens that are the oracle's best, or tie with it
  std::vector<ParityBytes> bytes;
  // The first thing that breaks its bound, empty where all is well.
  std::string divergence;
  double seconds = 0;
  bool ok = false;
  // Of the tokens that are no ties.
  double agreement() const {
    const auto decided = positions - static_cast<int64_t>(ties.size());
    return decided > 0 ? static_cast<double>(agreeing) / static_cast<double>(decided) : 1;
  }
};

struct ParityReport {
  std::string dtype;
  double eps = 0;  // an ulp, relative
  std::vector<int> layers;
  std::vector<std::vector<int32_t>> ids;  // by text
  std::vector<ParityEngine> engines;
  std::vector<std::string> requantized;  // Model::requantized
  bool ok = false;
};

// Runs the oracle and then each engine; `note` hears what is being done. An engine that is not available or
// fails is reported in its place and makes `ok` false. Throws InvalidArgument, UnknownBackend, UnknownLayer
// and what load_model throws.
MC_API ParityReport parity(const std::string& model, const ParityOptions& options,
                           const std::function<void(const std::string&)>& note = {});
// A line chart: each engine's error by layer in ulps on a logarithmic scale, and the bound.
MC_API std::string parity_svg(const ParityReport& report, const std::string& title);

}  // namespace mc
