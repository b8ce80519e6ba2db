"""Goldens of block formats and affine groups, made by packages we did not write: `gguf` and `mlx`.

    python make_quant_goldens.py gguf     # needs gguf
    python make_quant_goldens.py mlx      # needs mlx (mlx-cpu on Linux)

Writes quant/NAME.bin: little-endian sections, each a uint32 count of bytes and the bytes.
  NAME = a GGUF format:   random blocks, their float32 values
  NAME = FORMAT_quantize: float32 values, the blocks made of them
  NAME = affine_B_G:      float32 values (4, 256), packed words, scales, biases, dequantized float32
"""

import pathlib
import struct
import sys

import numpy as np

OUT = pathlib.Path(__file__).parent / "quant"


def write(name, *arrays):
    with open(OUT / f"{name}.bin", "wb") as f:
        for a in arrays:
            data = np.ascontiguousarray(a).tobytes()
            f.write(struct.pack("<I", len(data)) + data)


def halves(rng, n):
    """Scales as files have them, and the odd ones: subnormal, negative, zero of both signs, the largest."""
    x = rng.normal(0, 0.05, n).astype(np.float16)
    odd = np.array([0.0, -0.0, 2.0**-24, -(2.0**-24), 2.0**-15, 65504.0, -65504.0, 1.0], np.float16)
    x[: min(n, len(odd))] = odd[: min(n, len(odd))]
    return rng.permutation(x).view(np.uint8).reshape(n, 2)


def values(rng, n):
    x = rng.normal(0, 1, (n, 32)).astype(np.float32)
    x[0] = 0
    x[1] = 3.25
    x[2] = -1.5
    x[3] *= np.float32(1e-6)
    x[4] *= np.float32(1e4)
    x[5] = np.arange(-16, 16)
    x[6] = np.arange(32) * 0.5
    x[7] = np.abs(x[7])
    x[8] = -np.abs(x[8])
    return x


def make_gguf():
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

    rng = np.random.default_rng(20260923)
    halves_at = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
    for name, at in halves_at.items():
        kind = GGMLQuantizationType[name]
        size, n_bytes = GGML_QUANT_SIZES[kind]
        n = 48 if size == 32 else 12
        blocks = rng.integers(0, 256, (n, n_bytes), np.uint8)
        for offset in at:
            blocks[:, offset : offset + 2] = halves(rng, n)
        write(name, blocks, quants.dequantize(blocks, kind).astype(np.float32))
        if size == 32:
            x = values(rng, 64)
            write(f"{name}_quantize", x, quants.quantize(x, kind))
    words = rng.integers(0, 65536, 256, np.uint16)
    words = words[(words & 0x7F80) != 0x7F80]  # without NaN, whose payload is nobody's promise
    write("BF16", words, quants.dequantize(words.view(np.uint8), GGMLQuantizationType.BF16).astype(np.float32))
    words = words[(words & 0x7C00) != 0x7C00]
    write("F16", words, quants.dequantize(words.view(np.uint8), GGMLQuantizationType.F16).astype(np.float32))


def make_mlx():
    import mlx.core as mx

    rng = np.random.default_rng(20260924)
    for bits in (2, 3, 4, 5, 6, 8):
        for group in (32, 64, 128):
            x = values(rng, 32)
            x[9:] += rng.normal(0, 0.5, (23, 1)).astype(np.float32)
            x = x.reshape(4, 256)
            packed, scales, biases = mx.quantize(mx.array(x), group_size=group, bits=bits)
            back = mx.dequantize(packed, scales, biases, group_size=group, bits=bits)
            write(f"affine_{bits}_{group}", x, *(np.array(a) for a in (packed, scales, biases, back)))


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    {"gguf": make_gguf, "mlx": make_mlx}[sys.argv[1]]()
