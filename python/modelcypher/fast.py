"""Fused operations: one kernel where the engine has one, defined by plain operations where not."""
from __future__ import annotations

from typing import Any

from . import _mc
from ._mc import Array


def softmax(x: Any, axis: int = -1) -> Array:
    return _mc.softmax(x, axis)


def log_softmax(x: Any, axis: int = -1) -> Array:
    return _mc.log_softmax(x, axis)


def rms_norm(x: Any, weight: Any = None, eps: float = 1e-5) -> Array:
    """x·rsqrt(mean(x², last) + eps)·weight"""
    return _mc.rms_norm(x, weight, eps)


def layer_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Array:
    return _mc.layer_norm(x, weight, bias, eps)


def rope(x: Any, dims: int = 0, traditional: bool = False, base: float = 10000.0, scale: float = 1.0, offset: Any = 0,
         freqs: Any = None) -> Array:
    """x (…, T, d) rotated by position: offset + 0, 1, …, or positions given as an array. `traditional` pairs (2i, 2i+1),
    otherwise the halves of the first `dims` elements (0: all)."""
    return _mc.rope(x, dims, traditional, base, scale, offset, freqs)


def scaled_dot_product_attention(q: Any, k: Any, v: Any, scale: float = 0.0, mask: Any = None, *, causal: bool = False,
                                 window: int = 0, softcap: float = 0.0, q_start: Any = None, kv_len: Any = None) -> Array:
    """q (B, H, T, d), k and v (B, Hkv, S, d); scale 0 is 1/√d; mask is added, or bool (True: seen)."""
    return _mc.scaled_dot_product_attention(q, k, v, scale, mask, causal, window, softcap, q_start, kv_len)


def cross_entropy(logits: Any, labels: Any) -> Array:
    return _mc.cross_entropy(logits, labels)


def swiglu(gate: Any, up: Any) -> Array:
    return _mc.swiglu(gate, up)


def quantize(weight: Any, group_size: int = 64, bits: int = 4, mode: str = "affine") -> tuple[Array, Array, Array]:
    """(packed uint32, scales, biases) in MLX's affine layout: groups along the last axis."""
    w = _mc.array(weight)
    _affine(mode)
    if w.ndim < 2:
        raise ValueError("quantize takes matrices: (…, rows, columns)")
    parts = _mc.quantize(_mc.reshape(w, [-1, w.shape[-1]]), group_size, bits)
    return tuple(_mc.reshape(p, [*w.shape[:-1], p.shape[-1]]) for p in parts)


def dequantize(weight: Any, scales: Any, biases: Any, group_size: int = 64, bits: int = 4, mode: str = "affine") -> Array:
    _affine(mode)
    if biases is None:
        raise ValueError("affine weights have biases; None is for other modes, which are not computed here")
    parts = [_mc.array(p) for p in (weight, scales, biases)]
    flat = _mc.dequantize(*(_mc.reshape(p, [-1, p.shape[-1]]) for p in parts), group_size, bits)
    return _mc.reshape(flat, [*parts[0].shape[:-1], flat.shape[-1]])


def quantized_matmul(x: Any, weight: Any, scales: Any, biases: Any, group_size: int = 64, bits: int = 4, *, fast: bool = False) -> Array:
    """x (…, columns) times the transposed weight; `fast` rounds activations to 8 bits (docs/contract.md)."""
    return _mc.quantized_matmul(x, weight, scales, biases, group_size, bits, fast)


def _affine(mode: str) -> None:
    if mode != "affine":
        raise NotImplementedError(f"quantization mode {mode!r} is not computed here: 'affine' is")


__all__ = ["cross_entropy", "dequantize", "layer_norm", "log_softmax", "quantize", "quantized_matmul", "rms_norm", "rope",
           "scaled_dot_product_attention", "softmax", "swiglu"]
