"""Reductions, cumulative sums and products of matrices."""
from __future__ import annotations

import math
from typing import Any

from . import _mc
from ._common import Array, Axis, _arr, _axis, _inexact
from ._mc import conj, sqrt


def _summed(f: Any, x: Any, axis: Axis, dtype: Any, keepdims: bool) -> Array:
    a = _arr(x)
    if dtype is not None:
        a = _mc.astype(a, dtype)
    elif a.dtype.kind == "unsigned integer" and a.itemsize < 4:
        a = _mc.astype(a, _mc.uint32)
    out = f(a, axis, keepdims)
    return out if dtype is None or out.dtype == dtype else _mc.astype(out, dtype)


def sum(x: Any, /, axis: Axis = None, *, dtype: Any = None, keepdims: bool = False) -> Array:
    return _summed(_mc.sum, x, axis, dtype, keepdims)


def prod(x: Any, /, axis: Axis = None, *, dtype: Any = None, keepdims: bool = False) -> Array:
    return _summed(_mc.prod, x, axis, dtype, keepdims)


def mean(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Array:
    return _mc.mean(x, axis, keepdims)


def max(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Array:
    return _mc.max(x, axis, keepdims)


def min(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Array:
    return _mc.min(x, axis, keepdims)


def any(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Array:
    return _mc.any(x, axis, keepdims)


def all(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Array:
    return _mc.all(x, axis, keepdims)


def logsumexp(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Array:
    return _mc.logsumexp(x, axis, keepdims)


def var(x: Any, /, axis: Axis = None, *, correction: float = 0.0, keepdims: bool = False) -> Array:
    if float(correction).is_integer():
        return _mc.var(x, axis, keepdims, int(correction))
    a = _inexact(x)
    axes = range(a.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    n = math.prod(a.shape[i] for i in axes)
    return _mc.var(a, axis, keepdims, 0) * (n / (n - correction))


def std(x: Any, /, axis: Axis = None, *, correction: float = 0.0, keepdims: bool = False) -> Array:
    if float(correction).is_integer():
        return _mc.std(x, axis, keepdims, int(correction))
    return sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims))


def argmax(x: Any, /, axis: int | None = None, *, keepdims: bool = False) -> Array:
    return _mc.argmax(x, axis, keepdims)


def argmin(x: Any, /, axis: int | None = None, *, keepdims: bool = False) -> Array:
    return _mc.argmin(x, axis, keepdims)


def count_nonzero(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Array:
    return _mc.count_nonzero(x, axis, keepdims)


def _cumulated(f: Any, x: Any, axis: int | None, dtype: Any, first: int, include_initial: bool) -> Array:
    a = _arr(x)
    if axis is None:
        if a.ndim != 1:
            raise ValueError("an array of several dimensions needs the axis")
        axis = 0
    axis = _axis(axis, a.ndim)
    if dtype is not None:
        a = _mc.astype(a, dtype)
    elif a.dtype == _mc.bool or (a.dtype.kind == "signed integer" and a.itemsize < 4):
        a = _mc.astype(a, _mc.int32)
    elif a.dtype.kind == "unsigned integer" and a.itemsize < 4:
        a = _mc.astype(a, _mc.uint32)
    out = f(a, axis, False)
    if include_initial:
        shape = list(out.shape)
        shape[axis] = 1
        out = _mc.concatenate([_mc.full(shape, first, out.dtype), out], axis)
    return out if dtype is None or out.dtype == dtype else _mc.astype(out, dtype)


def cumulative_sum(x: Any, /, axis: int | None = None, *, dtype: Any = None, include_initial: bool = False) -> Array:
    return _cumulated(_mc.cumsum, x, axis, dtype, 0, include_initial)


def cumulative_prod(x: Any, /, axis: int | None = None, *, dtype: Any = None, include_initial: bool = False) -> Array:
    return _cumulated(_mc.cumprod, x, axis, dtype, 1, include_initial)


def cumsum(x: Any, /, axis: int | None = None, *, reverse: bool = False) -> Array:
    return _mc.cumsum(x, axis, reverse)


def cumprod(x: Any, /, axis: int | None = None, *, reverse: bool = False) -> Array:
    return _mc.cumprod(x, axis, reverse)


def diff(x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Array:
    parts = [p for p in (prepend, x, append) if p is not None]
    a = _mc.concatenate(parts, axis) if len(parts) > 1 else _arr(x)
    axis = _axis(axis, a.ndim)
    for _ in range(n):
        size = a.shape[axis]
        if size == 0:
            break
        low, high = [slice(None)] * a.ndim, [slice(None)] * a.ndim
        low[axis], high[axis] = slice(0, size - 1), slice(1, size)
        a = a[tuple(high)] ^ a[tuple(low)] if a.dtype == _mc.bool else a[tuple(high)] - a[tuple(low)]
    return a


# ---- products

matmul, dot, inner, outer = _mc.matmul, _mc.dot, _mc.inner, _mc.outer


def einsum(subscripts: str, *operands: Any) -> Array:
    return _mc.einsum(subscripts, operands)


def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Array:
    a, b = _arr(x1), _arr(x2)
    if isinstance(axes, int):
        if axes > a.ndim or axes > b.ndim or axes < 0:
            raise ValueError(f"can't contract {axes} axes of arrays with {a.ndim} and {b.ndim} dimensions")
        return _mc.tensordot(a, b, list(range(a.ndim - axes, a.ndim)), list(range(axes)))
    left, right = axes
    return _mc.tensordot(a, b, left, right)


def vecdot(x1: Any, x2: Any, /, axis: int = -1) -> Array:
    a, b = _arr(x1), _arr(x2)
    if a.shape[axis] != b.shape[axis]:
        raise ValueError(f"the axes have lengths {a.shape[axis]} and {b.shape[axis]}")
    d = _mc.promote(a.dtype, b.dtype)
    a, b = _mc.astype(a, d), _mc.astype(b, d)
    if d.kind == "complex floating":
        a = conj(a)
    a, b = _mc.broadcast_arrays([_mc.moveaxis(a, axis, -1), _mc.moveaxis(b, axis, -1)])
    return _mc.astype(_mc.sum(a * b, -1, False), d)
