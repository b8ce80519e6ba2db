// One vector for each text, from the model's last states.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mc/generate.h"
#include "mc/model.h"

namespace mc {

enum class EmbedPool : uint8_t { Mean, First, Last };
// "mean", "first" or "last"; throws InvalidArgument listing them.
MC_API EmbedPool parse_embed_pool(const std::string& name);
MC_API const char* embed_pool_name(EmbedPool pool);

struct EmbedOptions {
  // Over a text's tokens, special ones at its ends among them; not set: as the model's files say, else the
  // mean.
  std::optional<EmbedPool> pool = std::nullopt;
  bool normalize = false;  // to length 1
  int64_t batch_size = 8;  // texts side by side; on the numpy engine it never changes a bit of the result
};
// What embed() does where options do not say.
MC_API EmbedPool default_embed_pool(const Model& model);
// The ids that embed() computes on: with the tokens before and after the text that the files ask for.
MC_API std::vector<int32_t> embed_ids(const Model& model, const std::string& text);
// A text's vector (d,): states after the last block and the final norm, if the model has one, pooled in
// float64. Encoders (BERT) are made for it; decoders work as well. Nothing is truncated: throws
// ContextTooLong for a text beyond the model's context, InvalidArgument for one without tokens.
MC_API std::vector<std::vector<float>> embed(const std::shared_ptr<const Model>& model,
                                             const std::vector<std::string>& texts,
                                             const EmbedOptions& options = {});

// The bytes that embed() needs for texts of `tokens` tokens: on the device, and of the states on the host.
struct EmbedPlan {
  MemoryPlan device;
  size_t host = 0;
};
MC_API EmbedPlan plan_embed(const std::shared_ptr<const Model>& model, const EmbedOptions& options,
                            int64_t tokens);

}  // namespace mc
