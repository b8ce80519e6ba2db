"""Gemma 3, text only (Gemma Team 2025, arXiv 2503.19786): norms before and after each half of a block, norms on queries and keys,
five layers of sliding attention for each global one, two rotary bases, tanh GELU gate.

Conventions of the GGUF files: norm weights are stored with the 1 added; embeddings are multiplied by sqrt(width) in float
(not rounded to bf16 as the bf16 training code does: llama.cpp does not round, and the goldens follow it).
"""

from __future__ import annotations

import numpy as np

from .decoder import Decoder
from .layers import (
    causal_mask,
    gelu_tanh,
    grouped_attention,
    join_heads,
    rms_norm,
    rope_angles,
    rotate_halves,
    split_heads,
)

GLOBAL_EVERY = 6  # the report's 5:1 pattern; the last of each six layers is global
LOCAL_ROPE_BASE = 10000.0  # the report's base of local layers, which GGUF files do not hold


class Gemma3(Decoder):
    def __init__(self, checkpoint):
        super().__init__(checkpoint)
        self.heads = checkpoint.hyper("attention.head_count")
        self.key_heads = checkpoint.hyper("attention.head_count_kv")
        self.head_dim = checkpoint.hyper("attention.key_length")
        self.window = checkpoint.hyper("attention.sliding_window")
        self.global_base = checkpoint.hyper("rope.freq_base", 1000000.0)
        self.local_base = checkpoint.hyper("rope.freq_base_swa", LOCAL_ROPE_BASE)
        linear = checkpoint.get("gemma3.rope.scaling.type", "none") == "linear"
        self.global_scale = 1.0 / checkpoint.hyper("rope.scaling.factor") if linear else 1.0
        for key in ("attn_logit_softcapping", "final_logit_softcapping"):
            if checkpoint.get(f"gemma3.{key}"):
                raise NotImplementedError(f"the reference knows no gemma3.{key}")

    def embed(self, ids):
        return np.sqrt(float(self.width)) * self.checkpoint.take_rows("token_embd.weight", ids)

    def norm(self, x, index, name):
        return rms_norm(x, self.weight(index, name), self.epsilon)

    def block(self, index, x):
        def at(site, value):
            return self.visit(site, index, value)

        count = x.shape[0]
        is_global = (index + 1) % GLOBAL_EVERY == 0
        angles = (
            rope_angles(np.arange(count), self.head_dim, self.global_base, self.global_scale)
            if is_global
            else rope_angles(np.arange(count), self.head_dim, self.local_base)
        )
        h = at("attn_in", self.norm(x, index, "attn_norm"))
        q = self.norm(split_heads(self.linear(h, index, "attn_q"), self.heads), index, "attn_q_norm")
        k = self.norm(split_heads(self.linear(h, index, "attn_k"), self.key_heads), index, "attn_k_norm")
        q, k = at("q", rotate_halves(q, angles)), at("k", rotate_halves(k, angles))
        v = at("v", split_heads(self.linear(h, index, "attn_v"), self.key_heads))
        mask = causal_mask(count, None if is_global else self.window)
        attended = at("heads", grouped_attention(q, k, v, self.head_dim**-0.5, mask, lambda p: at("pattern", p)))
        x = x + at("attn_out", self.norm(self.linear(join_heads(attended), index, "attn_output"), index, "post_attention_norm"))
        h = at("mlp_in", self.norm(x, index, "ffn_norm"))
        gated = at("mlp_act", gelu_tanh(self.linear(h, index, "ffn_gate")) * self.linear(h, index, "ffn_up"))
        return x + at("mlp_out", self.norm(self.linear(gated, index, "ffn_down"), index, "post_ffw_norm"))
