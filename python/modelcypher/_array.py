"""The parts of Array that are Python's: indexing, methods, NumPy, DLPack, pickling, text."""
from __future__ import annotations

from typing import Any

from . import _index, _mc, errors
from ._mc import Array


def _repr(a: Array) -> str:
    try:
        text = a._text()
    except errors.Error:  # while a function is traced there are no numbers
        return f"array(shape={a.shape}, dtype={a.dtype.name}, not computed yet)"
    return f"array({text.replace(chr(10), chr(10) + '      ')}, dtype={a.dtype.name})"


def _format(a: Array, spec: str) -> str:
    return format(a.item(), spec) if spec and a.size == 1 else _str(a)


def _str(a: Array) -> str:
    try:
        return a._text()
    except errors.Error:
        return _repr(a)


def _to_numpy(a: Array, dtype: Any = None, copy: bool | None = None) -> Any:
    """NumPy's array of the same values; bfloat16, which NumPy lacks, is widened to float32. On the host engine it shares
    memory and is read-only unless a copy is asked for."""
    import numpy

    if a.dtype == _mc.bfloat16:
        if copy is False:
            raise ValueError("NumPy has no bfloat16: a copy is needed")
        a = _mc.astype(a, _mc.float32)
    out = numpy.asarray(memoryview(a))
    if dtype is not None and out.dtype != numpy.dtype(dtype):
        if copy is False:
            raise ValueError(f"a copy is needed to make {out.dtype} {numpy.dtype(dtype)}")
        return out.astype(dtype)
    return out.copy() if copy else out


def _dlpack(a: Array, /, *, stream: Any = None, max_version: tuple[int, int] | None = None,
            dl_device: tuple[int, int] | None = None, copy: bool | None = None) -> Any:
    here = _mc.dlpack_device(a)
    there = here if dl_device is None else tuple(map(int, dl_device))
    if there not in (here, (1, 0)):
        raise BufferError(f"the array is given out where it lies, DLPack's device {here}, or in host memory, (1, 0)")
    versioned = max_version is not None and max_version[0] >= 1
    if there != (1, 0):
        if copy is False and not versioned:
            raise BufferError("without a copy this needs DLPack 1.0, which knows read-only memory")
        return _mc.to_dlpack(a, versioned, bool(copy), True)  # the device is waited for: no stream needs to
    on_host = repr(a.device).startswith("numpy")
    if copy is False and not (on_host and versioned):
        raise BufferError("without a copy this needs DLPack 1.0, which knows read-only memory, and the host engine")
    return _mc.to_dlpack(a, versioned, bool(copy) or not on_host, False)


def _iterate(a: Array) -> Any:
    if a.ndim == 0:
        raise TypeError("an array of shape () can't be iterated over")
    return (a[i] for i in range(a.shape[0]))


def _contains(a: Array, value: Any) -> bool:
    return bool(_mc.any(_mc.equal(a, value), None, False))


def _matrix_transpose(a: Array) -> Array:
    if a.ndim < 2:
        raise ValueError("mT needs at least two dimensions")
    return _mc.swapaxes(a, -1, -2)


def _transposed(a: Array) -> Array:
    return _mc.transpose(a, None)


def _reshape(a: Array, *shape: Any) -> Array:
    return _mc.reshape(a, shape[0] if len(shape) == 1 else shape)


def _transpose(a: Array, *axes: Any) -> Array:
    if not axes or axes == (None,):
        return _mc.transpose(a, None)
    return _mc.transpose(a, axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes)


def _array_namespace(a: Array, /, *, api_version: str | None = None) -> Any:
    import modelcypher

    if api_version is not None and api_version not in modelcypher._API_VERSIONS:
        raise ValueError(f"array API {api_version!r} is not known here: {', '.join(modelcypher._API_VERSIONS)}")
    return modelcypher


def _to_device(a: Array, device: Any, /, *, stream: Any = None) -> Array:
    if stream is not None:
        raise ValueError("stream: devices here have one queue; leave it out")
    return a if a.device == _mc.Device(device) else _mc.to_device(a, device)


def _reduce(a: Array) -> Any:
    return _restored, (a.tobytes(), a.shape, a.dtype.name)


def _restored(data: bytes, shape: tuple[int, ...], dtype: str) -> Array:
    return _mc.from_bytes(data, shape, dtype)


def _restored_dtype(name: str) -> Any:
    return _mc.parse_dtype(name)


def _methods() -> None:
    Array.__getitem__ = _index.getitem
    Array.__setitem__ = _index.setitem
    Array.__repr__ = _repr
    Array.__str__ = _str
    Array.__format__ = _format
    Array.__array__ = _to_numpy
    Array.__array_priority__ = 1000  # NumPy's operators leave mixtures to ours
    Array.__array_namespace__ = _array_namespace
    Array.__dlpack__ = _dlpack
    Array.__dlpack_device__ = lambda a: _mc.dlpack_device(a)
    Array.__iter__ = _iterate
    Array.__contains__ = _contains
    Array.__reduce__ = _reduce
    _mc.Dtype.__reduce__ = lambda d: (_restored_dtype, (d.name,))
    Array.__copy__ = lambda a: _mc.array(a)
    Array.__deepcopy__ = lambda a, memo: _mc.array(a)
    Array.__pos__ = lambda a: _mc.array(a)
    Array.to_device = _to_device
    Array.numpy = lambda a: _to_numpy(a, copy=True)
    Array.T = property(_transposed)
    Array.mT = property(_matrix_transpose)
    Array.real = property(_mc.real)
    Array.imag = property(_mc.imag)
    Array.astype = lambda a, dtype: _mc.astype(a, dtype)
    Array.reshape = _reshape
    Array.transpose = _transpose
    Array.flatten = lambda a: _mc.reshape(a, [-1])
    Array.squeeze = lambda a, axis=None: _mc.squeeze(a, axis)
    Array.at = property(_At)
    for name in ("sum", "prod", "mean", "max", "min", "any", "all"):
        setattr(Array, name, _reduction(getattr(_mc, name), name))
    Array.var = lambda a, axis=None, keepdims=False, ddof=0: _mc.var(a, axis, keepdims, ddof)
    Array.std = lambda a, axis=None, keepdims=False, ddof=0: _mc.std(a, axis, keepdims, ddof)
    Array.argmax = lambda a, axis=None, keepdims=False: _mc.argmax(a, axis, keepdims)
    Array.argmin = lambda a, axis=None, keepdims=False: _mc.argmin(a, axis, keepdims)
    Array.cumsum = lambda a, axis=None: _mc.cumsum(a, axis, False)
    for name in ("abs", "sqrt", "exp", "log", "sin", "cos", "square", "conj"):
        setattr(Array, name, _unary(getattr(_mc, name), name))
    Array.round = lambda a, decimals=0: _mc.round(a, decimals)


def _reduction(f: Any, name: str) -> Any:
    def method(a: Array, axis: Any = None, keepdims: bool = False) -> Array:
        return f(a, axis, keepdims)

    method.__name__ = name
    return method


def _unary(f: Any, name: str) -> Any:
    def method(a: Array) -> Array:
        return f(a)

    method.__name__ = name
    return method


class _At:
    """a.at[key].set(value), .add, .multiply, .max, .min: a copy with those elements changed."""

    def __init__(self, a: Array, key: Any = ...):
        self._a, self._key = a, key

    def __getitem__(self, key: Any) -> _At:
        return _At(self._a, key)

    def set(self, value: Any) -> Array:
        return _index.updated(self._a, self._key, value)

    def _combine(self, value: Any, mode: int) -> Array:
        a = self._a
        numbers = _mc.reshape(_mc.arange(0, a.size, 1, "int64" if a.size >= 2**31 else "int32"), a.shape)
        chosen = _index.getitem(numbers, self._key)
        value = _mc.broadcast_to(_mc.array(value, a.dtype), chosen.shape)
        if chosen.size == 0:
            return a
        flat = _mc.scatter(_mc.reshape(a, [-1]), [_mc.reshape(chosen, [-1])], _mc.reshape(value, [-1, 1]), [0], mode)
        return _mc.reshape(flat, a.shape)

    def add(self, value: Any) -> Array:
        return self._combine(value, 1)

    def multiply(self, value: Any) -> Array:
        return self._combine(value, 2)

    def max(self, value: Any) -> Array:
        return self._combine(value, 3)

    def min(self, value: Any) -> Array:
        return self._combine(value, 4)


_methods()
