"""A model is loaded layer by layer: the peak is what stays, and at most 256 MiB more, from sharded safetensors and from GGUF."""

from __future__ import annotations

import json
import struct

import gguf
import numpy as np
import pytest
from test_architectures import LETTERS, add_letters
from test_capture_options import own_peak

LAYERS, WIDTH, FFN, HEADS, KV = 8, 1536, 6144, 12, 4
HEAD = WIDTH // HEADS
SLACK = 256 << 20
MATRICES = {
    "attn_q": ("self_attn.q_proj", WIDTH, WIDTH), "attn_k": ("self_attn.k_proj", KV * HEAD, WIDTH),
    "attn_v": ("self_attn.v_proj", KV * HEAD, WIDTH), "attn_output": ("self_attn.o_proj", WIDTH, WIDTH),
    "ffn_gate": ("mlp.gate_proj", FFN, WIDTH), "ffn_up": ("mlp.up_proj", FFN, WIDTH), "ffn_down": ("mlp.down_proj", WIDTH, FFN),
}  # fmt: skip
NORMS = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}


def matrix(rows, columns):
    """Some values over and over: what they are does not matter, how many does."""
    some = (0.02 * np.random.default_rng(1).standard_normal(4099)).astype(np.float16)
    return np.resize(some, (rows, columns))


def tensors(layer):
    for name, (hf, rows, columns) in MATRICES.items():
        yield name, hf, matrix(rows, columns)
    for name, hf in NORMS.items():
        yield name, hf, np.ones(WIDTH, np.float32)


def sharded(folder):
    """Two layers a file."""
    folder.mkdir()
    config = {"model_type": "llama", "num_hidden_layers": LAYERS, "hidden_size": WIDTH, "num_attention_heads": HEADS,
              "num_key_value_heads": KV, "intermediate_size": FFN, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
              "rope_theta": 1e4, "tie_word_embeddings": True, "vocab_size": 64, "hidden_act": "silu"}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps({
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        "model": {"type": "BPE", "vocab": {c: i for i, c in enumerate(LETTERS)}, "merges": []}}))  # fmt: skip
    places, total = {}, 0
    shards = [list(range(i, i + 2)) for i in range(0, LAYERS, 2)]
    for number, layers in enumerate(shards):
        held = {f"model.layers.{i}.{hf}.weight": a for i in layers for _, hf, a in tensors(i)}
        if number == 0:
            held |= {"model.embed_tokens.weight": matrix(64, WIDTH), "model.norm.weight": np.ones(WIDTH, np.float32)}
        file = f"model-{number + 1:05}-of-{len(shards):05}.safetensors"
        header, at = {}, 0
        for name, a in held.items():
            header[name] = {"dtype": "F16" if a.dtype == np.float16 else "F32", "shape": list(a.shape), "data_offsets": [at, at + a.nbytes]}
            at += a.nbytes
            places[name] = file
        head = json.dumps(header).encode()
        head += b" " * (-len(head) % 8)
        with open(folder / file, "wb") as f:
            f.write(struct.pack("<Q", len(head)) + head)
            for a in held.values():
                f.write(a.tobytes())
        total += at
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": places}))
    return folder, total


def one_file(path):
    w = gguf.GGUFWriter(path, "llama")
    w.add_block_count(LAYERS)
    w.add_context_length(512)
    w.add_embedding_length(WIDTH)
    w.add_feed_forward_length(FFN)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_freq_base(1e4)
    add_letters(w)
    w.add_tensor("token_embd.weight", matrix(64, WIDTH))
    w.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for i in range(LAYERS):
        for name, _, a in tensors(i):
            w.add_tensor(f"blk.{i}.{name}.weight", a)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path, path.stat().st_size


@pytest.mark.parametrize("kind", ["sharded safetensors", "gguf"])
def test_loading_takes_what_stays_and_little_more(mc, tmp_path, kind):
    model, size = sharded(tmp_path / "model") if kind != "gguf" else one_file(tmp_path / "model.gguf")
    assert size > 1.5 * SLACK, "a loader that held everything twice would pass"
    peak = own_peak(mc, "score", "--model", model, "--text", "abcdabcd")
    print(f"{kind}: {size / 1e6:.0f} MB of weights, peak {peak / 1e6:.0f} MB")
    assert peak <= size + SLACK
