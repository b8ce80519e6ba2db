"""The formulas that both model families share, in float64."""

from __future__ import annotations

import numpy as np


def rms_norm(x, weight, epsilon):
    """Zhang and Sennrich 2019: x / sqrt(mean(x^2) + epsilon) * weight over the last axis."""
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + epsilon) * weight


def rope_angles(positions, dims, base, frequency_scale=1.0):
    """Su et al. 2021: angle of pair i at position p is p * base^(-2i/dims); shape [positions, dims/2]."""
    pair = np.arange(dims // 2, dtype=np.float64)
    return np.asarray(positions, dtype=np.float64)[:, None] * frequency_scale * base ** (-2.0 * pair / dims)


def rotate_interleaved(x, angles):
    """Rotates the pairs (x[2i], x[2i+1]). x is [heads, positions, head_dim]; dimensions past the angles stay."""
    count = 2 * angles.shape[-1]
    cos, sin = np.cos(angles), np.sin(angles)
    out = x.copy()
    even, odd = x[..., 0:count:2], x[..., 1:count:2]
    out[..., 0:count:2] = even * cos - odd * sin
    out[..., 1:count:2] = even * sin + odd * cos
    return out


def rotate_halves(x, angles):
    """Rotates the pairs (x[i], x[i + dims/2]). x is [heads, positions, head_dim]; dimensions past the angles stay."""
    half = angles.shape[-1]
    cos, sin = np.cos(angles), np.sin(angles)
    out = x.copy()
    first, second = x[..., :half], x[..., half : 2 * half]
    out[..., :half] = first * cos - second * sin
    out[..., half : 2 * half] = first * sin + second * cos
    return out


def softmax(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def causal_mask(count, window=None):
    """True where query q may see key k: k <= q, and q - k < window for sliding attention."""
    distance = np.arange(count)[:, None] - np.arange(count)[None, :]
    return (distance >= 0) if window is None else (distance >= 0) & (distance < window)


def grouped_attention(q, k, v, scale, mask, seen=lambda pattern: pattern):
    """Ainslie et al. 2023: query head h reads key head h // (heads / key_heads). All are [heads, positions, dim].
    `seen` is given the pattern [heads, positions, keys] and returns what is to be used."""
    group = q.shape[0] // k.shape[0]
    k, v = np.repeat(k, group, axis=0), np.repeat(v, group, axis=0)
    scores = np.where(mask, scale * (q @ k.transpose(0, 2, 1)), -np.inf)
    return seen(softmax(scores)) @ v


def split_heads(x, heads):
    """[positions, heads * dim] to [heads, positions, dim]."""
    return x.reshape(x.shape[0], heads, -1).transpose(1, 0, 2)


def join_heads(x):
    return x.transpose(1, 0, 2).reshape(x.shape[1], -1)


def silu(x):
    return x / (1.0 + np.exp(-x))


def gelu_tanh(x):
    """Hendrycks and Gimpel 2016, the tanh form."""
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))
