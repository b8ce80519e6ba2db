"""Random numbers by Philox: for one key the same integers on every engine. Without a key a state that seed() sets is used."""
from __future__ import annotations

from typing import Any

from . import _mc
from ._mc import Array


def seed(seed: int) -> None:
    _mc.random_seed(seed)


def key(seed: int) -> Array:
    return _mc.random_key(seed)


def split(key: Any, num: int = 2) -> Array:
    return _mc.random_split(key, num)


def bits(shape: Any = (), key: Any = None) -> Array:
    return _mc.random_bits(shape, key)


def uniform(low: float = 0.0, high: float = 1.0, shape: Any = (), dtype: Any = None, key: Any = None) -> Array:
    return _mc.random_uniform(low, high, shape, dtype, key)


def normal(shape: Any = (), dtype: Any = None, loc: float = 0.0, scale: float = 1.0, key: Any = None) -> Array:
    return _mc.random_normal(shape, dtype, loc, scale, key)


def randint(low: int, high: int, shape: Any = (), dtype: Any = None, key: Any = None) -> Array:
    """low … high-1"""
    return _mc.random_randint(low, high, shape, dtype, key)


def bernoulli(p: Any = 0.5, shape: Any = None, key: Any = None) -> Array:
    return _mc.random_bernoulli(p, shape, key)


def categorical(logits: Any, num_samples: int = 1, key: Any = None) -> Array:
    return _mc.random_categorical(logits, num_samples, key)


def permutation(n: int, key: Any = None) -> Array:
    return _mc.random_permutation(n, key)


__all__ = ["bernoulli", "bits", "categorical", "key", "normal", "permutation", "randint", "seed", "split", "uniform"]
