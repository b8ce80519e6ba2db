// Qwen 2 and 2.5 (Yang et al. 2024): Llama's block with biases of queries, keys and values, which come with
// the tensors.
#include "decoder.h"

namespace mc::models {
namespace {

class Qwen2 final : public Decoder {
 public:
  explicit Qwen2(const Loader& l) {
    config_ = l.config();
    nn::Attention a;
    l.rotary(a, config_);
    read_gated(l, a);
  }
};

}  // namespace

const ModelDef kQwen2 = {
    "qwen2", [](const Loader& l) -> std::shared_ptr<Model> { return std::make_shared<Qwen2>(l); }};

}  // namespace mc::models
