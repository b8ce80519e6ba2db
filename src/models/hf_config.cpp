// Every key of a config.json is read, known to change no answer, or refused by its name.
#include <algorithm>

#include "hf_names.h"
#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc::models {
namespace {

using Json = nlohmann::json;

// Read by hf_directory.cpp, hf_tokenizer.cpp or checked there.
constexpr const char* kRead[] = {"model_type",
                                 "rope_parameters",
                                 "rope_scaling",
                                 "rope_theta",
                                 "rotary_emb_base",
                                 "rotary_pct",
                                 "partial_rotary_factor",
                                 "original_max_position_embeddings",
                                 "max_position_embeddings",
                                 "hidden_act",
                                 "hidden_activation",
                                 "activation_function",
                                 "layer_types",
                                 "sliding_window",
                                 "use_sliding_window",
                                 "max_window_layers",
                                 "_sliding_window_pattern",
                                 "head_dim",
                                 "num_key_value_heads",
                                 "query_pre_attn_scalar",
                                 "use_bidirectional_attention",
                                 "tie_word_embeddings",
                                 "quantization",
                                 "quantization_config"};
// Of training, generation, classification heads, or told by the tensors themselves (biases, sizes).
constexpr const char* kHarmless[] = {"architectures",
                                     "dtype",
                                     "torch_dtype",
                                     "transformers_version",
                                     "transformers.js_config",
                                     "use_cache",
                                     "cache_implementation",
                                     "vocab_size",
                                     "type_vocab_size",
                                     "n_ctx",
                                     "attention_bias",
                                     "mlp_bias",
                                     "pretraining_tp",
                                     "reorder_and_upcast_attn",
                                     "gradient_checkpointing",
                                     "output_attentions",
                                     "output_hidden_states",
                                     "output_router_logits",
                                     "router_aux_loss_coef",
                                     "router_jitter_noise",
                                     "return_dict",
                                     "auto_map",
                                     "id2label",
                                     "label2id",
                                     "num_labels",
                                     "problem_type",
                                     "finetuning_task",
                                     "task_specific_params",
                                     "tokenizer_class",
                                     "torchscript",
                                     "attn_implementation",
                                     "unsloth_fixed",
                                     "unsloth_version",
                                     "is_llama_config",
                                     "max_length",
                                     "min_length",
                                     "do_sample",
                                     "num_beams",
                                     "temperature",
                                     "top_k",
                                     "top_p",
                                     "repetition_penalty",
                                     "length_penalty"};
// Values that are computed; any other is refused.
struct Only {
  const char *key, *value;
};
constexpr Only kOnly[] = {{"is_decoder", "false"},
                          {"is_encoder_decoder", "false"},
                          {"add_cross_attention", "false"},
                          {"scale_attn_weights", "true"},
                          {"scale_attn_by_inverse_layer_idx", "false"},
                          {"position_embedding_type", "\"absolute\""},
                          {"rope_interleaved", "false"},
                          {"decoder_sparse_step", "1"},
                          {"mlp_only_layers", "[]"},
                          {"full_attn_mod", "1"},
                          {"interpolate_factor", "1"},
                          {"pruned_heads", "{}"}};

bool harmless(std::string_view key) {
  for (const char* k : kHarmless)
    if (key == k) return true;
  return key.starts_with("_") || key.starts_with("summary_") || key.starts_with("initializer_") ||
         key.ends_with("_token_id") || key.find("dropout") != std::string_view::npos ||
         key.ends_with("_pdrop");
}

// What asks for nothing, whatever the key means.
bool nothing(const Json& v) {
  return v.is_null() || v == Json(false) || ((v.is_array() || v.is_object()) && v.empty());
}

}  // namespace

void require_known_keys(const Json& config, const HfArchitecture& architecture, const std::string& path) {
  for (const auto& [key, value] : config.items()) {
    const auto is = [&k = key](const auto& known) { return k == known; };
    if (harmless(key) || std::any_of(std::begin(kRead), std::end(kRead), is) ||
        std::any_of(architecture.keys.begin(), architecture.keys.end(),
                    [&k = key](const HfKey& row) { return k == row.hf; }))
      continue;
    const auto only =
        std::find_if(std::begin(kOnly), std::end(kOnly), [&k = key](const Only& o) { return k == o.key; });
    if (only != std::end(kOnly)) {
      if (!value.is_null() && value.dump() != only->value)
        throw Error(
            ErrorCode::BadModel,
            cat("the key ", key, " is ", value.dump().substr(0, 60), "; only ", only->value, " is computed"),
            path);
      continue;
    }
    if (!nothing(value))
      throw Error(ErrorCode::BadModel,
                  cat("the key ", key.substr(0, 60), " is ", value.dump().substr(0, 60),
                      ", which is not read for ", architecture.model_type),
                  path, "if it changes no answer of the model, take it out of config.json");
  }
}

}  // namespace mc::models
