"""A hand-written jax.jit program of a Llama model beside `mc bench --backend jax`, through one and the same PJRT plugin.

peer_jax.py MODEL.gguf PLUGIN.so [--prompt-tokens 512] [--gen-tokens 128] [--after 32] [--runs 3] [--own]

Weights are float32 (as the jax engine expands them), products have precision HIGHEST, the cache is donated and holds as many
positions as ours (a power of two from 256). The plugin is loaded by PJRT_NAMES_AND_LIBRARY_PATHS; --own uses the XLA that comes with
jaxlib instead. Beside tokens/s stand the processor's seconds for a token, all threads together, of the run that took least; `mc bench`
tells them as cpu_s_per_token. Needs jax, numpy and gguf. Prints one line of JSON."""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import time


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("model")
    p.add_argument("plugin")
    p.add_argument("--prompt-tokens", type=int, default=512)
    p.add_argument("--gen-tokens", type=int, default=128)
    p.add_argument("--after", type=int, default=32)
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--own", action="store_true", help="jaxlib's own XLA")
    return p.parse_args()


A = arguments()
if not A.own:
    os.environ["PJRT_NAMES_AND_LIBRARY_PATHS"] = f"peer:{A.plugin}"
    os.environ["JAX_PLATFORMS"] = "peer"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from gguf import GGUFReader, dequantize  # noqa: E402

jax.config.update("jax_default_matmul_precision", "highest")


def load(path):
    reader = GGUFReader(path)
    field = {k: f.contents() for k, f in reader.fields.items()}
    weights = {t.name: jnp.asarray(np.asarray(dequantize(t.data, t.tensor_type), np.float32)) for t in reader.tensors}
    arch = field["general.architecture"]
    assert arch == "llama", "this peer is written for Llama"
    get = lambda key: field[f"{arch}.{key}"]  # noqa: E731
    heads, kv = get("attention.head_count"), get("attention.head_count_kv")
    return weights, {
        "layers": get("block_count"), "heads": heads, "kv": kv, "dim": get("embedding_length") // heads,
        "base": field.get(f"{arch}.rope.freq_base", 10000.0), "eps": get("attention.layer_norm_rms_epsilon"),
    }  # fmt: skip


W, C = load(A.model)


def norm(x, w):
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + C["eps"]) * w


def lin(x, w):  # w (rows, columns), as files have it: three times as fast on a CPU as x @ w.T
    return jnp.einsum("tk,nk->tn", x, w)


def rope(x, positions):  # (T, heads, dim), neighbours are pairs
    half = C["dim"] // 2
    angle = positions[:, None] * (C["base"] ** (-2.0 * jnp.arange(half) / C["dim"]))
    c, s = jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]
    a, b = x[..., 0::2], x[..., 1::2]
    return jnp.stack([a * c - b * s, a * s + b * c], -1).reshape(x.shape)


@functools.partial(jax.jit, donate_argnums=(1, 2))
def step(w, ks, vs, ids, start):
    t, cap = ids.shape[0], ks[0].shape[1]
    positions = start + jnp.arange(t)
    x = w["token_embd.weight"][ids]
    new_k, new_v = [], []
    group = C["heads"] // C["kv"]
    seen = jnp.arange(cap)[None] <= positions[:, None]
    for i in range(C["layers"]):
        p = f"blk.{i}."
        h = norm(x, w[p + "attn_norm.weight"])
        q = rope(lin(h, w[p + "attn_q.weight"]).reshape(t, C["heads"], C["dim"]), positions)
        k = rope(lin(h, w[p + "attn_k.weight"]).reshape(t, C["kv"], C["dim"]), positions)
        v = lin(h, w[p + "attn_v.weight"]).reshape(t, C["kv"], C["dim"])
        k = jax.lax.dynamic_update_slice(ks[i], k.transpose(1, 0, 2), (0, start, 0))
        v = jax.lax.dynamic_update_slice(vs[i], v.transpose(1, 0, 2), (0, start, 0))
        new_k.append(k)
        new_v.append(v)
        q = q.reshape(t, C["kv"], group, C["dim"]).transpose(1, 2, 0, 3).reshape(C["kv"], group * t, C["dim"])
        scores = jnp.einsum("hqd,hkd->hqk", q, k).reshape(C["kv"], group, t, cap) / C["dim"] ** 0.5
        probs = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), -1).reshape(C["kv"], group * t, cap)
        o = jnp.einsum("hqk,hkd->hqd", probs, v).reshape(C["heads"], t, C["dim"]).transpose(1, 0, 2).reshape(t, -1)
        x = x + lin(o, w[p + "attn_output.weight"])
        h = norm(x, w[p + "ffn_norm.weight"])
        gated = jax.nn.silu(lin(h, w[p + "ffn_gate.weight"])) * lin(h, w[p + "ffn_up.weight"])
        x = x + lin(gated, w[p + "ffn_down.weight"])
    x = norm(x[-1:], w["output_norm.weight"])
    head = w.get("output.weight", w["token_embd.weight"])
    return jnp.argmax(lin(x, head), -1).astype(jnp.int32), new_k, new_v


def capacity(n):
    c = 256
    while c < n:
        c *= 2
    return c


def cache(n):
    one = lambda: [jnp.zeros((C["kv"], capacity(n), C["dim"]), jnp.float32) for _ in range(C["layers"])]  # noqa: E731
    return one(), one()


def prefill(n):
    ids = jnp.asarray(np.arange(n) % 1000 + 5, jnp.int32)
    ks, vs = cache(n)
    jax.block_until_ready((ks, vs))
    begin = time.perf_counter(), time.process_time()
    token, ks, vs = step(W, ks, vs, ids, jnp.int32(0))
    np.asarray(token)
    return n / (time.perf_counter() - begin[0]), (time.process_time() - begin[1]) / n


def decode(n, after):
    ks, vs = cache(n + after)
    token, ks, vs = step(W, ks, vs, jnp.asarray(np.arange(after) % 1000 + 5, jnp.int32), jnp.int32(0))
    token, ks, vs = step(W, ks, vs, token, jnp.int32(after))
    np.asarray(token)
    begin = time.perf_counter(), time.process_time()
    for i in range(n):
        token, ks, vs = step(W, ks, vs, token, jnp.int32(after + 1 + i))
        np.asarray(token)
    return n / (time.perf_counter() - begin[0]), (time.process_time() - begin[1]) / n


prefill(A.prompt_tokens)
result = {"jax": jax.__version__, "platform": jax.devices()[0].client.platform_version}
for part, run in (("prefill", lambda: prefill(A.prompt_tokens)), ("decode", lambda: decode(A.gen_tokens, A.after))):
    runs = [run() for _ in range(A.runs)]
    result |= {part: round(statistics.median(r[0] for r in runs), 2), f"{part}, CPU s a token": round(min(r[1] for r in runs), 5)}
print(json.dumps(result))
