"""Shapes: views in all but name, joining, splitting and repeating."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import _mc
from ._common import Array, Axis, _arr, _axis


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    rank = max((len(s) for s in shapes), default=0)
    out = [1] * rank
    for s in shapes:
        for i, n in enumerate(s, rank - len(s)):
            if n != 1 and out[i] not in (1, n):
                raise ValueError(f"shapes {', '.join(map(str, shapes))} don't broadcast")
            out[i] = n if n != 1 else out[i]
    return tuple(out)


def broadcast_to(x: Any, /, shape: Any) -> Array:
    return _mc.broadcast_to(x, shape)


def broadcast_arrays(*arrays: Any) -> tuple[Array, ...]:
    return tuple(_mc.broadcast_arrays(arrays)) if arrays else ()


def reshape(x: Any, /, shape: Any, *, copy: bool | None = None) -> Array:
    return _mc.reshape(x, shape)


def squeeze(x: Any, /, axis: Axis = None) -> Array:
    return _mc.squeeze(x, axis)


def expand_dims(x: Any, /, axis: Any = 0) -> Array:
    return _mc.expand_dims(x, axis)


def permute_dims(x: Any, /, axes: Sequence[int]) -> Array:
    return _mc.transpose(x, axes)


def transpose(x: Any, /, axes: Sequence[int] | None = None) -> Array:
    return _mc.transpose(x, axes)


def matrix_transpose(x: Any, /) -> Array:
    return _arr(x).mT


def moveaxis(x: Any, source: Any, destination: Any, /) -> Array:
    a = _arr(x)
    if isinstance(source, int) and isinstance(destination, int):
        return _mc.moveaxis(a, source, destination)
    s, d = [source] if isinstance(source, int) else list(source), [destination] if isinstance(destination, int) else list(destination)
    n = a.ndim
    s, d = [_axis(i, n) for i in s], [_axis(i, n) for i in d]
    if len(s) != len(d) or len(set(s)) != len(s) or len(set(d)) != len(d):
        raise ValueError("moveaxis takes as many different destinations as sources")
    order = [i for i in range(n) if i not in s]
    for to, frm in sorted(zip(d, s)):
        order.insert(to, frm)
    return _mc.transpose(a, order)


def swapaxes(x: Any, axis1: int, axis2: int, /) -> Array:
    return _mc.swapaxes(x, axis1, axis2)


def concat(arrays: Sequence[Any], /, axis: int | None = 0) -> Array:
    if axis is None:
        return _mc.concatenate([_mc.reshape(a, [-1]) if _arr(a).size else _mc.zeros([0], _arr(a).dtype) for a in arrays], 0)
    return _mc.concatenate(arrays, axis)


def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Array:
    return concat(arrays, axis=axis)


def stack(arrays: Sequence[Any], /, axis: int = 0) -> Array:
    return _mc.stack(arrays, axis)


def unstack(x: Any, /, axis: int = 0) -> tuple[Array, ...]:
    a = _arr(x)
    n = a.shape[_axis(axis, a.ndim)]
    return tuple(_mc.squeeze(p, axis) for p in _mc.split(a, n, axis)) if n else ()


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    if isinstance(indices_or_sections, int):
        return _mc.split(x, indices_or_sections, axis)
    return _mc.split_at(x, indices_or_sections, axis)


def flip(x: Any, /, axis: Axis = None) -> Array:
    return _mc.flip(x, axis)


def roll(x: Any, /, shift: Any, axis: Axis = None) -> Array:
    a = _arr(x)
    if axis is None:
        if not isinstance(shift, int):
            raise ValueError("several shifts need their axes")
        return _mc.reshape(_mc.roll(_mc.reshape(a, [a.size]), shift, 0), a.shape)
    axes = [axis] if isinstance(axis, int) else list(axis)
    shifts = [shift] * len(axes) if isinstance(shift, int) else list(shift)
    if len(shifts) != len(axes):
        raise ValueError(f"{len(shifts)} shifts for {len(axes)} axes")
    for s, i in zip(shifts, axes):
        a = _mc.roll(a, s, i)
    return a


def repeat(x: Any, repeats: Any, /, axis: int | None = None) -> Array:
    a = _arr(x)
    if axis is None:
        a, axis = _mc.reshape(a, [a.size]), 0
    n = a.shape[_axis(axis, a.ndim)]
    if isinstance(repeats, int):
        return _mc.repeat(a, repeats, axis)
    counts = _arr(repeats)
    if counts.size == 1:
        return _mc.repeat(a, int(counts.item()), axis)
    if counts.shape != (n,):
        raise ValueError(f"repeats has shape {counts.shape}, the axis has length {n}")
    return _mc.take(a, _mc.array([i for i, c in enumerate(counts.tolist()) for _ in range(c)] or _mc.zeros([0], "int32")), axis)


def tile(x: Any, repetitions: Any, /) -> Array:
    return _mc.tile(x, repetitions)


def pad(x: Any, pad_width: Any, value: float = 0.0) -> Array:
    """pad_width: an int, a pair (before, after), or a pair for each axis."""
    a = _arr(x)
    if isinstance(pad_width, int):
        pad_width = (pad_width, pad_width)
    if len(pad_width) == 2 and isinstance(pad_width[0], int):
        pad_width = [pad_width] * a.ndim
    return _mc.pad(a, pad_width, value)


def flatten(x: Any, start_axis: int = 0, end_axis: int = -1) -> Array:
    return _mc.flatten(x, start_axis, end_axis)
