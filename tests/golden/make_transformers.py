"""Tiny random models of every architecture and what Hugging Face Transformers computes with them: tests/golden/transformers.

    python tests/golden/make_transformers.py [NAME ...]      # needs torch and transformers (made with 2.15.0 and 5.23.0)

NAME.safetensors holds float16 weights under the published names, NAME.json the configuration and the token ids, and
NAME.golden.safetensors embedding, output of every block, last hidden states, logits, the gradient of the mean cross entropy of the next
token (of an encoder: the mean square of its states) by some weights, named as GGUF names them, and the loss after a step against it.
Cases that differ in their rope alone share the weights of "llama". All is computed in float64: Transformers asks for float32 in norms,
softmax and rotation, so these names mean float64 while it runs.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers as tf
from safetensors import safe_open
from safetensors.numpy import save_file

OUT = Path(__file__).parent / "transformers"
STEP = 0.1
DECODER = {
    "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "intermediate_size": 48, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
MHA = DECODER | {"num_attention_heads": 4, "num_key_value_heads": 4}
LAYERED = DECODER | {"num_hidden_layers": 3}


def rope(kind, **more):
    return {"rope_type": kind, "rope_theta": 10000.0} | more


FACTORS = {"short_factor": [1 + 0.05 * i for i in range(8)], "long_factor": [1 + 0.7 * i for i in range(8)]}
LONGROPE = {
    "max_position_embeddings": 64,
    "original_max_position_embeddings": 16,
    "rope_parameters": rope("longrope", original_max_position_embeddings=16, **FACTORS),
}
# name -> class, configuration, and: weights of another case, tokens, the older form of rope in config.json
CASES = {
    "llama": (tf.LlamaConfig, DECODER, {}),
    "llama-linear": (tf.LlamaConfig, DECODER | {"rope_parameters": rope("linear", factor=2.0)}, {"weights": "llama", "older": True}),
    "llama-dynamic": (
        tf.LlamaConfig,
        DECODER | {"max_position_embeddings": 16, "rope_parameters": rope("dynamic", factor=2.0)},
        {"weights": "llama", "tokens": 24},
    ),
    "llama-llama3": (
        tf.LlamaConfig,
        DECODER
        | {"rope_parameters": rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)},
        {"weights": "llama", "older": True},
    ),
    "llama-yarn": (
        tf.LlamaConfig,
        DECODER | {"rope_parameters": rope("yarn", factor=4.0, original_max_position_embeddings=16)},
        {"weights": "llama", "tokens": 24, "older": True},
    ),
    "llama-yarn-whole": (
        tf.LlamaConfig,
        DECODER
        | {"max_position_embeddings": 256, "rope_parameters": rope("yarn", factor=4.0, original_max_position_embeddings=64,
            truncate=False)},
        {"weights": "llama", "tokens": 24, "older": True},
    ),
    "mistral": (tf.MistralConfig, DECODER | {"sliding_window": 5, "head_dim": 24}, {}),
    "qwen2": (
        tf.Qwen2Config,
        DECODER | {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1, "tie_word_embeddings": True},
        {},
    ),
    "qwen3": (tf.Qwen3Config, DECODER | {"head_dim": 24}, {}),
    "gemma2": (
        tf.Gemma2Config,
        LAYERED
        | {"head_dim": 24, "sliding_window": 5, "query_pre_attn_scalar": 20, "attn_logit_softcapping": 2.0,
           "final_logit_softcapping": 3.0},
        {},
    ),
    "gemma3": (
        tf.Gemma3TextConfig,
        LAYERED | {"head_dim": 24, "sliding_window": 5, "query_pre_attn_scalar": 24, "layer_types": ["sliding_attention"] * 2 + ["full_attention"]},  # noqa: E501
        {},
    ),
    "phi3": (tf.Phi3Config, DECODER | LONGROPE | {"sliding_window": 6}, {"older": True}),
    "phi3-long": (tf.Phi3Config, DECODER | LONGROPE | {"sliding_window": 6}, {"weights": "phi3", "tokens": 24}),
    "gpt2": (tf.GPT2Config, {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64, "n_inner": 48, "bos_token_id": 1,
              "eos_token_id": 2}, {}),
    "gpt_neox": (tf.GPTNeoXConfig, MHA | {"rotary_pct": 0.5, "num_key_value_heads": None}, {"older": True}),
    "gpt_neox-fast": (
        tf.GPTNeoXConfig,
        MHA | {"rotary_pct": 0.5, "num_key_value_heads": None, "hidden_act": "gelu_fast"},
        {"weights": "gpt_neox"},
    ),
    "gpt_neox-serial": (
        tf.GPTNeoXConfig,
        MHA | {"rotary_pct": 0.25, "use_parallel_residual": False, "num_key_value_heads": None, "num_attention_heads": 2},
        {},
    ),
    "mixtral": (tf.MixtralConfig, DECODER | {"num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 32}, {}),
    "qwen3_moe": (
        tf.Qwen3MoeConfig,
        DECODER | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "norm_topk_prob": True, "head_dim": 16},
        {},
    ),
    "bert": (
        tf.BertConfig,
        {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
         "max_position_embeddings": 32},
        {},
    ),
}  # fmt: skip
# Parameters whose gradient is kept: as Transformers and as GGUF call them; t: it lies transposed.
GRADIENTS = {
    "embed_tokens.weight": "token_embd.weight",
    "layers.0.input_layernorm.weight": "blk.0.attn_norm.weight",
    "layers.0.self_attn.q_proj.weight": "blk.0.attn_q.weight",
    "layers.0.self_attn.k_proj.bias": "blk.0.attn_k.bias",
    "layers.0.self_attn.k_norm.weight": "blk.0.attn_k_norm.weight",
    "layers.0.self_attn.qkv_proj.weight": "blk.0.attn_qkv.weight",
    "layers.1.mlp.down_proj.weight": "blk.1.ffn_down.weight",
    "layers.0.mlp.gate.weight": "blk.0.ffn_gate_inp.weight",
    "h.0.attn.c_attn.weight": "blk.0.attn_qkv.weight t",
    "h.0.ln_1.bias": "blk.0.attn_norm.bias",
    "wpe.weight": "position_embd.weight",
    "layers.0.attention.dense.weight": "blk.0.attn_output.weight",
    "layers.1.mlp.dense_4h_to_h.bias": "blk.1.ffn_down.bias",
    "encoder.layer.0.attention.self.query.weight": "blk.0.attn_q.weight",
    "encoder.layer.0.attention.output.LayerNorm.weight": "blk.0.attn_output_norm.weight",
    "encoder.layer.1.intermediate.dense.bias": "blk.1.ffn_up.bias",
}


@contextlib.contextmanager
def float64():
    """float32 means float64."""
    kept = torch.float32, torch.float, torch.Tensor.float
    torch.set_default_dtype(torch.float64)
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        torch.float32, torch.float, torch.Tensor.float = kept
        torch.set_default_dtype(torch.float32)


def fill(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            noise = torch.randn(p.shape, generator=generator, dtype=torch.float64)
            norm = "norm" in name.lower() or "ln_" in name
            centre = 1.0 if norm and name.endswith("weight") and "gemma" not in type(model).__name__.lower() else 0.0
            size = 0.15 if p.ndim == 1 else 0.8 if "embed" in name or "wte" in name or "wpe" in name else 0.25
            p.copy_((centre + size * noise).half().double())


def older(config):
    """As the published directories write it: base and scaling apart."""
    config = dict(config)
    p = dict(config.pop("rope_parameters"))
    config["rope_theta"] = p.pop("rope_theta")
    kind = p.pop("rope_type")
    if "partial_rotary_factor" in p:
        config["rotary_pct" if config["model_type"] == "gpt_neox" else "partial_rotary_factor"] = p.pop("partial_rotary_factor")
    if kind == "longrope":
        config["original_max_position_embeddings"] = p.pop("original_max_position_embeddings")
    p.pop("factor", None) if kind == "longrope" else None
    config["rope_scaling"] = None if kind == "default" else {"rope_type": kind} | p
    return config


def saved(model):
    """Configuration and weights as save_pretrained writes them."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        config = json.loads((Path(folder) / "config.json").read_text())
        tensors = {}
        for file in Path(folder).glob("*.safetensors"):
            with safe_open(file, "np") as f:
                tensors |= {k: f.get_tensor(k).astype(np.float16) for k in f.keys()}  # noqa: SIM118
    config.pop("transformers_version")
    return config | {"dtype": "float16"}, tensors


def make(name):
    kind, settings, more = CASES[name]
    encoder = kind is tf.BertConfig
    with float64():
        config = kind(**settings, attn_implementation="eager", experts_implementation="eager")
        cls = tf.BertModel if encoder else tf.AutoModelForCausalLM
        model = (cls(config) if encoder else cls.from_config(config)).double().eval()
        fill(model, sum(map(ord, more.get("weights", name))))
        tokens = more.get("tokens", 14)
        rng = np.random.default_rng(7)
        ids = torch.tensor(rng.integers(3, 64, (2 if encoder else 1, tokens)))
        mask = torch.ones_like(ids)
        if encoder:
            mask[1, 9:] = 0
        body = model if encoder else model.base_model
        blocks = body.encoder.layer if encoder else body.h if hasattr(body, "h") else body.layers
        seen = []
        for b in blocks:
            b.register_forward_hook(lambda m, i, o: seen.append(o[0] if isinstance(o, tuple) else o))

        def forward():
            out = model(input_ids=ids, attention_mask=mask, output_hidden_states=True, **({} if encoder else {"use_cache": False}))
            if encoder:
                return out, (out.last_hidden_state[mask.bool()] ** 2).mean()
            return out, torch.nn.functional.cross_entropy(out.logits[:, :-1].reshape(-1, 64), ids[:, 1:].reshape(-1))

        out, loss = forward()
        last = out.last_hidden_state if encoder else out.hidden_states[-1]
        loss.backward()
        blocks_out = list(seen)
        config, tensors = saved(model)
        with torch.no_grad():
            for p, g in body.named_parameters():
                if p in GRADIENTS:
                    g -= STEP * g.grad
            stepped = forward()[1]
    golden = {"embed": out.hidden_states[0], "hidden": last, "loss": loss} | {f"block.{i}": h for i, h in enumerate(blocks_out)}
    if not encoder:
        golden["logits"] = out.logits
    for p, g in body.named_parameters():
        if p in GRADIENTS and "weights" not in more:
            to, *flag = GRADIENTS[p].split()
            golden[f"grad {to}"] = g.grad.T if flag else g.grad
    if "weights" not in more:
        golden["loss.step"] = stepped
    about = {"config": older(config) if more.get("older") else config, "ids": ids.tolist(), "lengths": mask.sum(1).tolist(),
             "weights": more.get("weights", name), "context": tokens if "tokens" in more else 0}  # fmt: skip
    (OUT / f"{name}.json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")
    if "weights" not in more:
        save_file(tensors, OUT / f"{name}.safetensors")
    save_file(
        {k: np.ascontiguousarray(v.detach().numpy().astype(np.float32)) for k, v in golden.items()},
        OUT / f"{name}.golden.safetensors",
    )
    for file in OUT.glob("*.safetensors"):
        file.chmod(0o644)
    print(name, f"loss {loss.item():.6f}", *(k for k in golden if k.startswith("grad")), sep="  ")


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    for case in sys.argv[1:] or CASES:
        make(case)
