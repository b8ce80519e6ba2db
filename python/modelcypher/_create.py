"""Creation: the array API standard's functions and tri, diag, array."""
from __future__ import annotations

from typing import Any

from . import _mc
from ._common import Array, _arr, _on
from ._convert import from_dlpack
from ._dtypes import isdtype


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Array:
    """An array of a number, nested sequences, an Array, or what another library made (buffer, DLPack, __array__).
    copy=False uses the memory of the object and raises where that can't be. An Array comes back itself unless a copy is
    asked for or needed."""
    if isinstance(obj, Array) and not copy and device is None and (dtype is None or obj.dtype == dtype):
        return obj
    if isinstance(obj, Array) and copy is False and device is None:
        raise ValueError(f"a copy is needed to make {obj.dtype.name} {_mc.parse_dtype(dtype).name}")
    if copy is False and not isinstance(obj, Array):
        a = from_dlpack(obj, copy=False) if hasattr(obj, "__dlpack__") else _mc.wrap_buffer(obj)
        if dtype is not None and a.dtype != dtype:
            raise ValueError(f"a copy is needed to make {a.dtype.name} {_mc.parse_dtype(dtype).name}")
        return _on(device, a)
    return _on(device, _mc.array(obj, dtype))


def array(data: Any, dtype: Any = None, *, copy: bool = True) -> Array:
    """An array of nested lists, numbers or arrays. Python's ints give int32 (int64 where they need it), floats float32."""
    return _mc.array(data, dtype)


def zeros(shape: Any, *, dtype: Any = None, device: Any = None) -> Array:
    return _on(device, _mc.zeros(shape, dtype))


def ones(shape: Any, *, dtype: Any = None, device: Any = None) -> Array:
    return _on(device, _mc.ones(shape, dtype))


def empty(shape: Any, *, dtype: Any = None, device: Any = None) -> Array:
    """Zeros: there is no memory that was never written."""
    return _on(device, _mc.zeros(shape, dtype))


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Array:
    return _on(device, _mc.full(shape, fill_value, dtype))


def zeros_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Array:
    return _on(device, _mc.zeros(_arr(x).shape, dtype or _arr(x).dtype))


def ones_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Array:
    return _on(device, _mc.ones(_arr(x).shape, dtype or _arr(x).dtype))


empty_like = zeros_like


def full_like(x: Any, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Array:
    return _on(device, _mc.full(_arr(x).shape, fill_value, dtype or _arr(x).dtype))


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None) -> Array:
    n_cols = n_rows if n_cols is None else n_cols
    return _on(device, _mc.eye(n_rows, n_cols, max(-n_rows, min(k, n_cols)), dtype))


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Array:
    if stop is None:
        start, stop = 0, start
    return _on(device, _mc.arange(start, stop, step, dtype))


def linspace(start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None, endpoint: bool = True) -> Array:
    if isinstance(start, complex) or isinstance(stop, complex) or (dtype is not None and isdtype(dtype, "complex floating")):
        steps = num - 1 if endpoint else num
        wide = _mc.array([start + (stop - start) * i / max(steps, 1) for i in range(num)] or [0j], "complex128")[:num]
        return _on(device, _mc.astype(wide, dtype or "complex64"))
    if not endpoint:
        return _on(device, _mc.slice(_mc.linspace(start, stop, num + 1, dtype), [0], [num], [1]))
    return _on(device, _mc.linspace(start, stop, num, dtype))


def tril(x: Any, /, *, k: int = 0) -> Array:
    return _mc.tril(x, k)


def triu(x: Any, /, *, k: int = 0) -> Array:
    return _mc.triu(x, k)


def tri(n: int, m: int | None = None, k: int = 0, *, dtype: Any = None) -> Array:
    return _mc.tri(n, n if m is None else m, k, dtype)


def diag(x: Any, /, k: int = 0) -> Array:
    return _mc.diag(x, k)


def meshgrid(*arrays: Any, indexing: str = "xy") -> tuple[Array, ...]:
    if indexing not in ("xy", "ij"):
        raise ValueError(f"indexing is 'xy' or 'ij', not {indexing!r}")
    given = [_arr(a) for a in arrays]
    n = len(given)
    shaped = []
    for i, a in enumerate(given):
        shape = [1] * n
        shape[i] = -1
        shaped.append(_mc.reshape(a, shape) if a.size else _mc.reshape(a, [0 if s == -1 else 1 for s in shape]))
    out = _mc.broadcast_arrays(shaped)
    if indexing == "xy" and n > 1:
        out = [_mc.swapaxes(a, 0, 1) for a in out]
    return tuple(out)
