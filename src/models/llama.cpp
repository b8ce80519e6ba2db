// Llama 2 and 3 (Touvron et al. 2023, Dubey et al. 2024) as GGUF stores them: query and key rows are permuted
// so that rotary pairs are neighbours. GGUF has Mistral and Mixtral (Jiang et al. 2023, 2024) under the same
// name, with a window in every layer and with experts.
#include "decoder.h"

namespace mc::models {
namespace {

class Llama final : public Decoder {
 public:
  explicit Llama(const Loader& l) {
    config_ = l.config();
    nn::Attention a;
    l.rotary(a, config_);
    a.rope.traditional = l.rope_neighbours();
    read_gated(l, a);
  }
};

}  // namespace

const ModelDef kLlama = {
    "llama", [](const Loader& l) -> std::shared_ptr<Model> { return std::make_shared<Llama>(l); }};

}  // namespace mc::models
