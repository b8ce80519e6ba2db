// What a model predicts, token by token and layer by layer.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "mc/generate.h"
#include "mc/model.h"
#include "mc/sites.h"

namespace mc {

// Of the distribution over the token after each position; nats.
struct Prediction {
  int32_t top = 0;  // the most probable token, the lowest id among equals
  double top_logprob = 0;
  double entropy = 0;  // -Σ p ln p over the whole vocabulary
};
// For each of the text's tokens, what follows it. Throws what Session does.
MC_API std::vector<Prediction> predictions(const std::shared_ptr<const Model>& model,
                                           const std::vector<int32_t>& ids,
                                           const std::vector<Edit>& edits = {});

// Two models, or one with and without edits, on the same tokens.
struct Divergence {
  Prediction a, b;
  double kl = 0;       // Σ p_a ln(p_a/p_b)
  double reverse = 0;  // Σ p_b ln(p_b/p_a)
};
// Throws ShapeMismatch for models of different vocabularies.
MC_API std::vector<Divergence> divergences(const std::shared_ptr<const Model>& a,
                                           const std::vector<Edit>& edits_a,
                                           const std::shared_ptr<const Model>& b,
                                           const std::vector<Edit>& edits_b, const std::vector<int32_t>& ids);

// Logit lens (nostalgebraist 2020): the residual stream after a layer, through the model's own last norm and
// head. `kl` is from the model's final distribution to the layer's; `final_logprob` what the layer gives the
// model's final top token.
struct LensCell {
  Prediction prediction;
  double kl = 0, final_logprob = 0;
};
// layers × tokens. Layers count from 0. Throws UnknownLayer, InvalidArgument for encoders.
MC_API std::vector<std::vector<LensCell>> logit_lens(const std::shared_ptr<const Model>& model,
                                                     const std::vector<int32_t>& ids,
                                                     const std::vector<int>& layers,
                                                     const std::vector<Edit>& edits = {});

// Whether a direction causes anything: KL(model ‖ model without it), mean over all tokens, where its
// component is taken out at `sites` (Arditi et al. 2024), beside the same for control directions.
struct AblationCheck {
  int64_t texts = 0, tokens = 0;
  double kl = 0, error = 0;      // nats; the mean's standard error, texts taken as independent (NaN for one)
  double top1 = 0;               // share of tokens whose most probable next token stays
  std::vector<double> controls;  // mean KL of each
  double p_value = 1;            // (1 + controls at least as large)/(1 + controls)
};
// `direction` and each of `controls` are (d,), of any length. Throws InvalidArgument, what Session does.
MC_API AblationCheck check_by_ablation(const std::shared_ptr<const Model>& model,
                                       const std::vector<std::vector<int32_t>>& texts,
                                       const std::vector<Site>& sites, const Array& direction,
                                       const Arrays& controls = {});

}  // namespace mc
