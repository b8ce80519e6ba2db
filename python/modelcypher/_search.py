"""Indexing, searching, sorting and sets."""
from __future__ import annotations

from collections import namedtuple
from typing import Any

from . import _mc
from ._common import Array, _arr, _axis


def take(x: Any, indices: Any, /, axis: int | None = None) -> Array:
    return _mc.take(x, indices, axis)


def take_along_axis(x: Any, indices: Any, /, axis: int = -1) -> Array:
    return _mc.take_along_axis(x, indices, axis)


def nonzero(x: Any, /, *, size: int | None = None) -> tuple[Array, ...]:
    return tuple(_mc.nonzero(x, size))


def argwhere(x: Any, /) -> Array:
    return _mc.stack(_mc.nonzero(x), 1)


def searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Array:
    if side not in ("left", "right"):
        raise ValueError(f"side is 'left' or 'right', not {side!r}")
    a = _arr(x1)
    return _mc.searchsorted(a if sorter is None else _mc.take(a, sorter, 0), x2, side == "right")


def _sortable(x: Any) -> Array:
    a = _arr(x)
    if a.dtype.kind == "complex floating":
        raise TypeError("complex numbers have no order")
    return a


def sort(x: Any, /, axis: int = -1, *, descending: bool = False, stable: bool = True) -> Array:
    a = _sortable(x)
    return _mc.flip(_mc.sort(a, axis), [axis]) if descending else _mc.sort(a, axis)


def argsort(x: Any, /, axis: int = -1, *, descending: bool = False, stable: bool = True) -> Array:
    a = _sortable(x)
    if not descending:
        return _mc.argsort(a, axis)
    n = a.shape[_axis(axis, a.ndim)]  # sorted backwards, equal elements keep their order
    return _mc.subtract(n - 1, _mc.flip(_mc.argsort(_mc.flip(a, [axis]), axis), [axis]))


def partition(x: Any, kth: int, /, axis: int = -1) -> Array:
    return _mc.partition(x, kth, axis)


def argpartition(x: Any, kth: int, /, axis: int = -1) -> Array:
    return _mc.argpartition(x, kth, axis)


def topk(x: Any, k: int, /, axis: int = -1) -> tuple[Array, Array]:
    return _mc.topk(x, k, axis)


_UniqueAll = namedtuple("unique_all_result", ["values", "indices", "inverse_indices", "counts"])
_UniqueCounts = namedtuple("unique_counts_result", ["values", "counts"])
_UniqueInverse = namedtuple("unique_inverse_result", ["values", "inverse_indices"])


def unique_all(x: Any, /) -> _UniqueAll:
    return _UniqueAll(*_mc.unique_all(x))


def unique_counts(x: Any, /) -> _UniqueCounts:
    u = _mc.unique_all(x)
    return _UniqueCounts(u[0], u[3])


def unique_inverse(x: Any, /) -> _UniqueInverse:
    u = _mc.unique_all(x)
    return _UniqueInverse(u[0], u[2])


def unique_values(x: Any, /) -> Array:
    return _mc.unique_all(x)[0]


def isin(x1: Any, x2: Any, /, *, invert: bool = False) -> Array:
    a, b = _arr(x1), _mc.reshape(_arr(x2), [-1]) if _arr(x2).size else _arr(x2)
    if b.size == 0:
        return _mc.full(a.shape, invert, "bool")
    found = _mc.any(_mc.equal(_mc.expand_dims(a, -1), b), -1, False)
    return ~found if invert else found
