"""a[key] and a[key] = value with NumPy's meaning.

Arrays are values: assignment gives the name on the left a new value and never shows in another array. Integer indices
that are arrays are not checked, because their values may not be computed yet: reading out of range gives NaN (the lowest
integer, False), writing there does nothing. Python's integers are checked.
"""
from __future__ import annotations

import operator
from typing import Any

from . import _mc
from ._mc import Array


class _Plan:
    """A key taken apart: `starts`, `stops`, `steps` for each dimension; `ints` those that disappear; `arrays` {dimension:
    indices}; `out` the dimensions of the result before arrays are applied, None for a new one."""

    __slots__ = ("starts", "stops", "steps", "ints", "arrays", "out", "first_array", "split_arrays", "identity")


def _bounds(s: slice, n: int) -> tuple[int, int, int]:
    start, stop, step = s.indices(n)
    if not range(start, stop, step):
        return 0, 0, 1
    if step < 0 and stop < 0:
        stop = _mc.end  # before the first element
    return start, stop, step


def _expand(shape: tuple[int, ...], key: Any) -> list[Any]:
    items = list(key) if isinstance(key, tuple) else [key]
    used = 0
    for i, k in enumerate(items):
        if isinstance(k, (list, tuple)):
            items[i] = k = _mc.array(k) if k else _mc.zeros((0,), "int32")
        if k is None or k is Ellipsis:
            continue
        if k is True or k is False:
            items[i] = k = _mc.array(k)
        if not isinstance(k, (slice, Array)) and not hasattr(k, "__index__"):
            if not hasattr(k, "__array__") and not hasattr(k, "__dlpack__"):
                raise IndexError(f"an index is an integer, a slice, None, ... or an array, not a {type(k).__name__}")
        if not isinstance(k, (slice, int, Array)) and (hasattr(k, "dtype") or hasattr(k, "__dlpack__")):
            items[i] = k = _mc.array(k)
        used += k.ndim if isinstance(k, Array) and k.dtype == _mc.bool else 1
    if used > len(shape):
        raise IndexError(f"too many indices: the array has {len(shape)} dimensions, {used} were indexed")
    where = [i for i, k in enumerate(items) if k is Ellipsis]
    if len(where) > 1:
        raise IndexError("an index can have one ellipsis (...) only")
    fill = [slice(None)] * (len(shape) - used)
    if where:
        items[where[0] : where[0] + 1] = fill
    else:
        items += fill
    return items


def _plan(shape: tuple[int, ...], key: Any) -> _Plan:
    p = _Plan()
    p.starts, p.stops, p.steps, p.ints, p.arrays, p.out = [], [], [], [], {}, []
    d, positions, identity = 0, [], True

    def take(start: int, stop: int, step: int) -> None:
        p.starts.append(start)
        p.stops.append(stop)
        p.steps.append(step)

    items = _expand(shape, key)
    has_arrays = any(isinstance(k, Array) and (k.ndim > 0 or not k.is_evaluated) for k in items)
    for i, k in enumerate(items):
        if k is None:
            p.out.append(None)
        elif isinstance(k, slice):
            bounds = _bounds(k, shape[d])
            identity = identity and bounds == (0, shape[d], 1)
            take(*bounds)
            p.out.append(d)
            d += 1
        elif isinstance(k, Array) and k.dtype == _mc.bool:
            if tuple(shape[d : d + k.ndim]) != k.shape:
                raise IndexError(f"the mask has shape {k.shape}, the dimensions it masks {tuple(shape[d : d + k.ndim])}")
            if k.ndim == 0:
                raise IndexError("a bool of shape () is an index of its own only: a[mask]")
            for part in _mc.nonzero(k):
                p.arrays[d] = part
                take(0, shape[d], 1)
                d += 1
            positions.append((i, len(p.out)))
            identity = False
        elif isinstance(k, Array) and (k.ndim > 0 or not k.is_evaluated):  # a number that is not known yet, too
            if k.dtype.kind not in ("signed integer", "unsigned integer"):
                raise IndexError(f"an array of indices holds integers or bools, not {k.dtype}")
            p.arrays[d] = k
            take(0, shape[d], 1)
            d += 1
            positions.append((i, len(p.out)))
            identity = False
        else:
            n = operator.index(k)
            if not -shape[d] <= n < shape[d]:
                raise IndexError(f"index {n} is out of range for axis {d} of length {shape[d]}")
            n %= shape[d]
            if has_arrays:  # beside arrays an integer is an array of one index
                p.arrays[d] = _mc.array(n)
                take(0, shape[d], 1)
                positions.append((i, len(p.out)))
            else:
                take(n, n + 1, 1)
                p.ints.append(d)
            identity = False
            d += 1
    where = [i for i, _ in positions]
    p.split_arrays = bool(where) and where[-1] - where[0] + 1 != len(where)
    p.first_array = 0 if p.split_arrays or not positions else positions[0][1]
    p.identity = identity
    return p


def _basic(a: Array, p: _Plan) -> Array:
    return a if p.identity else _mc.slice(a, p.starts, p.stops, p.steps)


def _reshaped(a: Array, p: _Plan) -> Array:
    shape = [1 if d is None else a.shape[d] for d in p.out]
    return a if tuple(shape) == a.shape else _mc.reshape(a, shape)


def getitem(a: Array, key: Any) -> Array:
    if isinstance(key, Array) and key.dtype == _mc.bool:
        if key.ndim == 0:
            return _mc.expand_dims(a, 0) if key else _mc.zeros((0, *a.shape), a.dtype)
        if key.shape != a.shape[: key.ndim]:
            raise IndexError(f"the mask has shape {key.shape}, the dimensions it masks {a.shape[: key.ndim]}")
        return _mc.boolean_mask(a, key)
    p = _plan(a.shape, key)
    if not p.arrays:
        return _reshaped(_basic(a, p), p)
    a = _mc.slice(a, p.starts, p.stops, p.steps)
    axes = sorted(p.arrays)
    indices = _mc.broadcast_arrays([p.arrays[d] for d in axes])
    rank = indices[0].ndim
    if a.size == 0 or indices[0].size == 0:
        rest = [1 if d is None else a.shape[d] for d in p.out]
        shape = rest[: p.first_array] + list(indices[0].shape) + rest[p.first_array :]
        if indices[0].size and any(a.shape[d] == 0 for d in axes):
            raise IndexError("an index into an axis of length 0")
        return _mc.zeros(shape, a.dtype)
    sizes = [1 if d in p.arrays else n for d, n in enumerate(a.shape)]
    out = _mc.gather(a, indices, axes, sizes)
    rest = [1 if d is None else a.shape[d] for d in p.out]
    out = _mc.reshape(out, [*indices[0].shape, *rest])
    at = p.first_array
    if at:  # the indices' dimensions stand where the first array stood
        order = [*range(rank, rank + at), *range(rank), *range(rank + at, out.ndim)]
        out = _mc.transpose(out, order)
    return out


def setitem(a: Array, key: Any, value: Any) -> None:
    a._assign(updated(a, key, value))


def updated(a: Array, key: Any, value: Any) -> Array:
    """A copy of `a` with a[key] = value."""
    dtype = a.dtype
    if isinstance(value, complex) and dtype.kind != "complex floating":
        raise TypeError(f"a complex number does not fit an array of {dtype.name}")
    value = _mc.array(value, dtype)  # a Python number straight to that dtype: by way of float32 it would lose digits
    if isinstance(key, Array) and key.dtype == _mc.bool and key.shape == a.shape[: key.ndim]:
        rest = a.ndim - key.ndim
        if value.ndim <= rest:  # one value, or one row, for all that are chosen
            mask = _mc.reshape(key, [*key.shape, *[1] * rest])
            return _mc.where(mask, _mc.broadcast_to(value, a.shape), a)
        if key.ndim == 0:
            return _mc.broadcast_to(value, a.shape) if key else a
    p = _plan(a.shape, key)
    if not p.arrays:
        if a.size == 0:
            return a
        target = _mc.slice(a, p.starts, p.stops, p.steps).shape
        shape = [1 if d is None else target[d] for d in p.out]
        value = _fitted(value, shape)
        if 0 in target:
            return a
        value = _mc.reshape(value, target)
        starts, stops, steps, flips = [], [], [], []
        for d, (start, step, n) in enumerate(zip(p.starts, p.steps, target)):
            if step < 0:
                flips.append(d)
                start, step = start + (n - 1) * step, -step
            starts.append(start)
            stops.append(start + (n - 1) * step + 1)
            steps.append(step)
        if flips:
            value = _mc.flip(value, flips)
        return _mc.slice_update(a, value, starts, stops, steps)
    # Which elements a[key] names, as numbers of the flattened array.
    n = a.size
    numbers = _mc.reshape(_mc.arange(0, n, 1, "int64" if n >= 2**31 else "int32"), a.shape)
    chosen = getitem(numbers, key)
    value = _fitted(value, chosen.shape)
    if chosen.size == 0:
        return a
    # A number read out of range is the lowest integer: it is written nowhere.
    flat = _mc.scatter(_mc.reshape(a, [n]), [_mc.reshape(chosen, [-1])], _mc.reshape(value, [-1, 1]), [0], 0)
    return _mc.reshape(flat, a.shape)


def _fitted(value: Array, shape: Any) -> Array:
    while value.ndim > len(shape) and value.shape[0] == 1:
        value = _mc.squeeze(value, 0)
    return _mc.broadcast_to(value, list(shape))
