"""Llama (Touvron et al. 2023): pre-norm, rotary positions, grouped queries, SwiGLU.

GGUF files of arch `llama` hold query and key rows permuted so that a rotation pair lies side by side.
"""

from __future__ import annotations

import numpy as np

from .decoder import Decoder
from .layers import (
    causal_mask,
    grouped_attention,
    join_heads,
    rms_norm,
    rope_angles,
    rotate_interleaved,
    silu,
    split_heads,
)


class Llama(Decoder):
    def __init__(self, checkpoint):
        super().__init__(checkpoint)
        self.heads = checkpoint.hyper("attention.head_count")
        self.key_heads = checkpoint.hyper("attention.head_count_kv", self.heads)
        self.head_dim = checkpoint.hyper("attention.key_length", self.width // self.heads)
        self.rope_dims = checkpoint.hyper("rope.dimension_count", self.head_dim)
        self.rope_base = checkpoint.hyper("rope.freq_base", 10000.0)
        if checkpoint.get("llama.rope.scaling.type", "none") != "none" or checkpoint.has("rope_freqs.weight"):
            raise NotImplementedError("the reference knows no scaled rotary positions for llama")

    def embed(self, ids):
        return self.checkpoint.take_rows("token_embd.weight", ids)

    def block(self, index, x):
        def at(site, value):
            return self.visit(site, index, value)

        count = x.shape[0]
        h = at("attn_in", rms_norm(x, self.weight(index, "attn_norm"), self.epsilon))
        angles = rope_angles(np.arange(count), self.rope_dims, self.rope_base)
        q = at("q", rotate_interleaved(split_heads(self.linear(h, index, "attn_q"), self.heads), angles))
        k = at("k", rotate_interleaved(split_heads(self.linear(h, index, "attn_k"), self.key_heads), angles))
        v = at("v", split_heads(self.linear(h, index, "attn_v"), self.key_heads))
        mask = causal_mask(count)
        attended = at("heads", grouped_attention(q, k, v, self.head_dim**-0.5, mask, lambda p: at("pattern", p)))
        x = x + at("attn_out", self.linear(join_heads(attended), index, "attn_output"))
        h = at("mlp_in", rms_norm(x, self.weight(index, "ffn_norm"), self.epsilon))
        gated = at("mlp_act", silu(self.linear(h, index, "ffn_gate")) * self.linear(h, index, "ffn_up"))
        return x + at("mlp_out", self.linear(gated, index, "ffn_down"))
