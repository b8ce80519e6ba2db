"""mlx-lm's Llama beside `mc bench --backend mlx`, on one and the same libmlx.

peer_mlx.py MODEL.gguf [--mc build/bin/mc] [--quantize affine4|affine8[:GROUP]] [--prompt-tokens 512] [--gen-tokens 32] [--after 32]
            [--turns 3]

The weights are those of the file: blocks of Q4_0, Q4_1 and Q8_0 become libmlx's groups of 32 with float32 scales, as the mlx engine makes
them, others float32; --quantize makes groups of all matrices, the embedding too. Both compute the last position's logits only. With --mc
the two take turns, so that a machine shared with others treats them alike; of both the processor's seconds for a token are told, too, all
threads together: they depend less on what else runs. Needs mlx-lm, numpy and gguf. Prints one line of JSON."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import time

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from gguf import GGUFReader, dequantize
from mlx_lm.generate import generate_step
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.models.llama import Model, ModelArgs

LAYER = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}  # fmt: skip
OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
BITS = {"Q4_0": 4, "Q4_1": 4, "Q8_0": 8}


def name_of(tensor: str) -> str:
    parts = tensor.removesuffix(".weight").split(".")
    return OUTER[parts[0]] if parts[0] != "blk" else f"model.layers.{parts[1]}.{LAYER[parts[2]]}"


def load(path: str, quantize: str | None) -> Model:
    reader = GGUFReader(path)
    field = {k: f.contents() for k, f in reader.fields.items()}
    assert field["general.architecture"] == "llama", "this peer is written for Llama"
    get = lambda key: field[f"llama.{key}"]  # noqa: E731
    tensors = {name_of(t.name): t for t in reader.tensors}
    model = Model(ModelArgs(
        model_type="llama", hidden_size=get("embedding_length"), num_hidden_layers=get("block_count"),
        intermediate_size=get("feed_forward_length"), num_attention_heads=get("attention.head_count"),
        num_key_value_heads=get("attention.head_count_kv"), rms_norm_eps=get("attention.layer_norm_rms_epsilon"),
        vocab_size=tensors["model.embed_tokens"].shape[1], rope_theta=field.get("llama.rope.freq_base", 10000.0),
        rope_traditional=True, tie_word_embeddings="lm_head" not in tensors,
    ))  # fmt: skip
    model.load_weights([(f"{n}.weight", mx.array(np.asarray(dequantize(t.data, t.tensor_type), np.float32))) for n, t in tensors.items()])
    if quantize:
        kind, _, group = quantize.partition(":")
        nn.quantize(model, group_size=int(group or 64), bits=int(kind.removeprefix("affine")))
    else:
        scheme = {n: {"group_size": 32, "bits": BITS[t.tensor_type.name]} for n, t in tensors.items() if t.tensor_type.name in BITS}
        nn.quantize(model, class_predicate=lambda name, module: scheme.get(name, False))
    mx.eval(model.parameters())
    return model


def spent(begin: tuple[float, float], n: int) -> tuple[float, float]:
    """Tokens per second, and the processor's seconds for one."""
    return n / (time.perf_counter() - begin[0]), (time.process_time() - begin[1]) / n


def prefill(model: Model, n: int) -> tuple[float, float]:
    cache = make_prompt_cache(model)
    ids = mx.array(np.arange(n) % 1000 + 5)[None]
    begin = time.perf_counter(), time.process_time()
    last = model.model(ids, cache)[:, -1:]
    logits = model.model.embed_tokens.as_linear(last) if model.args.tie_word_embeddings else model.lm_head(last)
    mx.argmax(logits, -1).item()
    return spent(begin, n)


def decode(model: Model, n: int, after: int) -> tuple[float, float]:
    """mlx-lm's own loop: the next step is begun before the last token is handed out."""
    tokens = generate_step(mx.array(np.arange(after) % 1000 + 5), model, max_tokens=n + 1)
    next(tokens)
    begin = time.perf_counter(), time.process_time()
    count = sum(1 for _ in tokens)
    return spent(begin, count)


def ours(a: argparse.Namespace) -> list[tuple[float, float]]:
    command = [a.mc, "bench", "-m", a.model, "--backend", "mlx", "--prompt-tokens", str(a.prompt_tokens), "--gen-tokens", str(a.gen_tokens),
               "--decode-context", str(a.after), "--runs", "1", "--output", "json"]  # fmt: skip
    command += ["--quantize", a.quantize] if a.quantize else []
    env = os.environ | {"MODELCYPHER_MLX": str(pathlib.Path(mx.__file__).parent)}
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout)
    return [(told[part]["tokens_per_s"], told[part]["cpu_s_per_token"]) for part in ("prefill", "decode")]


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("model")
    p.add_argument("--mc", help="the program to compare with")
    p.add_argument("--quantize", help="affine4, affine8, with :GROUP")
    p.add_argument("--prompt-tokens", type=int, default=512)
    p.add_argument("--gen-tokens", type=int, default=32)
    p.add_argument("--after", type=int, default=32)
    p.add_argument("--turns", type=int, default=3)
    a = p.parse_args()
    model = load(a.model, a.quantize)
    prefill(model, a.prompt_tokens)
    decode(model, 1, a.after)
    peer, mine = [], []
    for _ in range(a.turns):
        peer.append((prefill(model, a.prompt_tokens), decode(model, a.gen_tokens, a.after)))
        if a.mc:
            mine.append(ours(a))
    result = {"libmlx": mx.__version__, "device": str(mx.default_device()), "quantize": a.quantize}
    for i, what in enumerate(("prefill", "decode")):
        result[what] = {"mlx-lm": [round(r[i][0], 2) for r in peer], "mlx-lm, CPU s a token": [round(r[i][1], 4) for r in peer]}
        if not mine:
            continue
        result[what] |= {"mc": [round(r[i][0], 2) for r in mine], "mc, CPU s a token": [round(r[i][1], 4) for r in mine]}
        # Of the middle turns; the least that a turn took of the processor is what it takes.
        rate = [statistics.median(r[i][0] for r in rows) for rows in (mine, peer)]
        cpu = [min(r[i][1] for r in rows) for rows in (mine, peer)]
        result[what] |= {"mc / mlx-lm": round(rate[0] / rate[1], 3), "by CPU": round(cpu[1] / cpu[0], 3)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
