"""A GGUF file of random weights in the shape of a real model, to time engines without downloading it.

usage: random_model.py SHAPE FILE [q4_1]    SHAPE: smollm2-135m, llama-1b (Llama-3.2 1.24 B), llama-8b (Llama-3 8 B),
                                            tiny (for sanitizers)

Weights are bfloat16; with q4_1 they are Q4_1, the embedding Q8_0, as SmolLM2's own file has them.

Weights are draws of one normal distribution of deviation 0.02; the vocabulary is made up, so texts mean nothing.
"""
import struct
import sys

import numpy as np

SHAPES = {  # width, feed-forward, layers, heads, key-value heads, head size, vocabulary, own head
    "smollm2-135m": (576, 1536, 30, 9, 3, 64, 49152, False),
    "llama-1b": (2048, 8192, 16, 32, 8, 64, 128256, False),
    "tiny": (256, 512, 2, 4, 2, 64, 1024, True),
    "llama-8b": (4096, 14336, 32, 32, 8, 128, 128256, True),
}
ALIGN, F32, Q4_1, Q8_0, BF16 = 32, 0, 3, 8, 30
BLOCK = {F32: (1, 4), BF16: (1, 2), Q4_1: (32, 20), Q8_0: (32, 34)}  # elements, bytes


def text(s: bytes) -> bytes:
    return struct.pack("<Q", len(s)) + s


def pair(key: str, value) -> bytes:
    k = text(key.encode())
    if isinstance(value, str):
        return k + struct.pack("<I", 8) + text(value.encode())
    if isinstance(value, float):
        return k + struct.pack("<If", 6, value)
    if isinstance(value, int):
        return k + struct.pack("<II", 4, value)
    kind = {bytes: 8, int: 5}[type(value[0])]
    body = b"".join(map(text, value)) if kind == 8 else np.array(value, "<i4").tobytes()
    return k + struct.pack("<IIQ", 9, kind, len(value)) + body


def main() -> int:
    if len(sys.argv) not in (3, 4) or sys.argv[3:] not in ([], ["q4_1"]) or sys.argv[1] not in SHAPES:
        print(__doc__, file=sys.stderr)
        return 2
    width, ff, layers, heads, kv, head, vocab, own_head = SHAPES[sys.argv[1]]
    bytes_ = [c for c in range(256) if 33 <= c <= 126 or 161 <= c <= 172 or c >= 174]
    letters = [chr(c) for c in bytes_] + [chr(256 + n) for n in range(256 - len(bytes_))]  # as GPT-2 writes bytes
    words = ("".join(chr(33 + i // 94 ** k % 94) for k in (3, 2, 1, 0)) for i in range(vocab - 258))
    tokens = [t.encode() for t in ["<s>", "</s>", *letters, *words]]
    meta = [("general.architecture", "llama"), ("general.name", "random " + sys.argv[1]),
            ("llama.block_count", layers), ("llama.context_length", 8192), ("llama.embedding_length", width),
            ("llama.feed_forward_length", ff), ("llama.attention.head_count", heads),
            ("llama.attention.head_count_kv", kv), ("llama.attention.layer_norm_rms_epsilon", 1e-5),
            ("llama.rope.freq_base", 500000.0), ("llama.rope.dimension_count", head), ("llama.vocab_size", vocab),
            ("tokenizer.ggml.model", "gpt2"), ("tokenizer.ggml.pre", "smollm"), ("tokenizer.ggml.tokens", tokens),
            ("tokenizer.ggml.token_type", [3, 3] + [1] * (vocab - 2)), ("tokenizer.ggml.merges", [b"! !"]),
            ("tokenizer.ggml.bos_token_id", 0), ("tokenizer.ggml.eos_token_id", 1)]
    tensors = [("token_embd.weight", (vocab, width)), ("output_norm.weight", (width,))]
    if own_head:
        tensors.append(("output.weight", (vocab, width)))
    for i in range(layers):
        b = f"blk.{i}."
        tensors += [(b + "attn_norm.weight", (width,)), (b + "ffn_norm.weight", (width,)),
                    (b + "attn_q.weight", (heads * head, width)), (b + "attn_k.weight", (kv * head, width)),
                    (b + "attn_v.weight", (kv * head, width)), (b + "attn_output.weight", (width, heads * head)),
                    (b + "ffn_gate.weight", (ff, width)), (b + "ffn_up.weight", (ff, width)),
                    (b + "ffn_down.weight", (width, ff))]
    def kind_of(name, shape):
        return F32 if len(shape) == 1 else BF16 if len(sys.argv) == 3 else Q8_0 if "embd" in name else Q4_1

    def size_of(kind, shape):
        return int(np.prod(shape)) // BLOCK[kind][0] * BLOCK[kind][1]

    infos, at = b"", 0
    for name, shape in tensors:
        kind = kind_of(name, shape)
        infos += text(name.encode()) + struct.pack("<I", len(shape))
        infos += struct.pack(f"<{len(shape)}Q", *shape[::-1]) + struct.pack("<IQ", kind, at)
        at += -(-size_of(kind, shape) // ALIGN) * ALIGN
    head_bytes = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(meta)) + b"".join(pair(*m) for m in meta) + infos
    rng = np.random.default_rng(0)
    count = 1 << 24
    normal = rng.standard_normal(count, np.float32) * np.float32(0.02)
    pools = {}
    for kind in {kind_of(*t) for t in tensors} - {F32}:
        if kind == BF16:
            rows = (normal.view(np.uint32) >> 16).astype("<u2").view(np.uint8).reshape(-1, 2)
        else:
            x = normal.reshape(-1, 32)
            low, high = x.min(1), x.max(1)
            d, m = ((high - low) / 15, low) if kind == Q4_1 else (np.abs(x).max(1) / 127, 0 * low)
            d, m = d.astype("<f2"), m.astype("<f2")
            q = np.rint((x - m[:, None]) / d[:, None])
            scales = [d.reshape(-1, 1).view(np.uint8)] + ([m.reshape(-1, 1).view(np.uint8)] if kind == Q4_1 else [])
            q = q.clip(0, 15).astype(np.uint8) if kind == Q4_1 else q.astype(np.int8).view(np.uint8)
            rows = np.concatenate([*scales, q[:, :16] | q[:, 16:] << 4 if kind == Q4_1 else q], 1)
        pools[kind] = np.concatenate([rows, rows])
    with open(sys.argv[2], "wb") as f:
        f.write(head_bytes + b"\0" * (-len(head_bytes) % ALIGN))
        for name, shape in tensors:
            kind = kind_of(name, shape)
            left = int(np.prod(shape)) // BLOCK[kind][0]
            if kind == F32:
                f.write(np.ones(left, "<f4").tobytes())
                left = 0
            while left:
                half = len(pools[kind]) // 2
                first, part = int(rng.integers(0, half)), min(left, half)
                f.write(pools[kind][first:first + part])
                left -= part
            f.write(b"\0" * (-size_of(kind, shape) % ALIGN))
    return 0


if __name__ == "__main__":
    sys.exit(main())
