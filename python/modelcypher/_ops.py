"""The functions of the array namespace: the array API standard's names and signatures, then NumPy's other names."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from . import _mc
from ._convert import from_dlpack

Array, Dtype, Device = _mc.Array, _mc.Dtype, _mc.Device
Axis = int | Sequence[int] | None

# Straight from the extension; all take array-likes, positional.
from ._mc import abs as abs  # noqa: E402, A004
from ._mc import (  # noqa: E402
    add,
    arctan2,
    bitwise_and,
    bitwise_or,
    bitwise_xor,
    ceil,
    conj,
    cos,
    cosh,
    divide,
    equal,
    erf,
    erfinv,
    exp,
    expm1,
    floor,
    floor_divide,
    greater,
    greater_equal,
    imag,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    power,
    real,
    reciprocal,
    relu,
    remainder,
    rsqrt,
    sigmoid,
    sign,
    silu,
    sin,
    sinh,
    sqrt,
    square,
    stop_gradient,
    subtract,
    tan,
    tanh,
    where,
)
from ._mc import arccos as acos  # noqa: E402
from ._mc import arccosh as acosh  # noqa: E402
from ._mc import arcsin as asin  # noqa: E402
from ._mc import arcsinh as asinh  # noqa: E402
from ._mc import arctan as atan  # noqa: E402
from ._mc import arctanh as atanh  # noqa: E402
from ._mc import left_shift as bitwise_left_shift  # noqa: E402
from ._mc import right_shift as bitwise_right_shift  # noqa: E402

arccos, arcsin, arctan, atan2, pow = acos, asin, atan, arctan2, power
left_shift, right_shift = bitwise_left_shift, bitwise_right_shift
isdtype_kinds = {
    "bool": ("bool",), "signed integer": ("signed integer",), "unsigned integer": ("unsigned integer",),
    "integral": ("signed integer", "unsigned integer"), "real floating": ("real floating",), "complex floating": ("complex floating",),
    "numeric": ("signed integer", "unsigned integer", "real floating", "complex floating"),
}
_range, _sum, _all, _any, _max, _min, _round, _tuple = range, sum, all, any, max, min, round, tuple


def _arr(x: Any) -> Array:
    return x if isinstance(x, Array) else _mc.array(x)


def _on(device: Any, a: Array) -> Array:
    return a if device is None else _mc.to_device(a, device)


# ---- creation


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
    return _on(device, _mc.eye(n_rows, n_cols, _max(-n_rows, _min(k, n_cols)), dtype))


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Array:
    if stop is None:
        start, stop = 0, start
    return _on(device, _mc.arange(start, stop, step, dtype))


def linspace(start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None, endpoint: bool = True) -> Array:
    if isinstance(start, complex) or isinstance(stop, complex) or (dtype is not None and isdtype(dtype, "complex floating")):
        steps = num - 1 if endpoint else num
        wide = _mc.array([start + (stop - start) * i / _max(steps, 1) for i in _range(num)] or [0j], "complex128")[:num]
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
    return _tuple(out)


# ---- dtypes


class finfo:  # noqa: N801
    """Limits of a floating dtype (of the parts of a complex one)."""

    __slots__ = ("bits", "eps", "max", "min", "smallest_normal", "dtype")

    def __init__(self, type: Any, /):
        d = type.dtype if isinstance(type, Array) else type
        self.bits, self.eps, self.max, self.min, self.smallest_normal, self.dtype = _mc.finfo(d)
        if isdtype(_mc.parse_dtype(d), "complex floating"):
            self.bits = _mc.finfo(self.dtype)[0]

    @property
    def tiny(self) -> float:
        return self.smallest_normal

    def __repr__(self) -> str:
        return f"finfo(dtype={self.dtype.name}, bits={self.bits}, eps={self.eps}, max={self.max}, smallest_normal={self.smallest_normal})"


class iinfo:  # noqa: N801
    """Limits of an integer dtype."""

    __slots__ = ("bits", "max", "min", "dtype")

    def __init__(self, type: Any, /):
        self.bits, self.max, self.min, self.dtype = _mc.iinfo(type.dtype if isinstance(type, Array) else type)

    def __repr__(self) -> str:
        return f"iinfo(dtype={self.dtype.name}, bits={self.bits}, min={self.min}, max={self.max})"


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Array:
    return _on(device, _mc.astype(x, dtype))


def isdtype(dtype: Any, kind: Any) -> bool:
    d = _mc.parse_dtype(dtype)
    if isinstance(kind, _tuple):
        return _any(isdtype(d, k) for k in kind)
    if isinstance(kind, str) and kind in isdtype_kinds:
        return d.kind in isdtype_kinds[kind]
    if isinstance(kind, str):
        raise ValueError(f"{kind!r} is no kind of dtype: {', '.join(isdtype_kinds)}")
    return d == kind


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether promotion leads from one dtype to the other."""
    source = from_.dtype if isinstance(from_, Array) else _mc.parse_dtype(from_)
    try:
        return _mc.promote(source, to) == to
    except TypeError:
        return False


def result_type(*arrays_and_dtypes: Any) -> Dtype:
    dtypes, numbers = [], []
    for x in arrays_and_dtypes:
        if isinstance(x, Array):
            dtypes.append(x.dtype)
        elif isinstance(x, (bool, int, float, complex)):
            numbers.append(x)
        else:
            dtypes.append(_mc.parse_dtype(x))
    if not dtypes:
        if not numbers:
            raise ValueError("result_type needs at least one array or dtype")
        dtypes.append(_mc.array(numbers[0]).dtype)
    out = dtypes[0]
    for d in dtypes[1:]:
        out = _mc.promote(out, d)
    for x in numbers:
        if isinstance(x, complex):
            out = out if out.kind == "complex floating" else _mc.complex128 if out == _mc.float64 else _mc.complex64
        elif isinstance(x, float):
            out = out if "floating" in out.kind else _mc.float32
        elif not isinstance(x, bool) and out == _mc.bool:
            out = _mc.int32
    return out


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    rank = _max((len(s) for s in shapes), default=0)
    out = [1] * rank
    for s in shapes:
        for i, n in enumerate(s, rank - len(s)):
            if n != 1 and out[i] not in (1, n):
                raise ValueError(f"shapes {', '.join(map(str, shapes))} don't broadcast")
            out[i] = n if n != 1 else out[i]
    return _tuple(out)


# ---- shape


def broadcast_to(x: Any, /, shape: Any) -> Array:
    return _mc.broadcast_to(x, shape)


def broadcast_arrays(*arrays: Any) -> tuple[Array, ...]:
    return _tuple(_mc.broadcast_arrays(arrays)) if arrays else ()


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
    order = [i for i in _range(n) if i not in s]
    for to, frm in sorted(zip(d, s)):
        order.insert(to, frm)
    return _mc.transpose(a, order)


def _axis(i: int, n: int) -> int:
    if not -n <= i < n:
        raise IndexError(f"axis {i} is out of range for {n} dimensions")
    return i % n


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
    return _tuple(_mc.squeeze(p, axis) for p in _mc.split(a, n, axis)) if n else ()


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
    return _mc.take(a, _mc.array([i for i, c in enumerate(counts.tolist()) for _ in _range(c)] or _mc.zeros([0], "int32")), axis)


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


# ---- elementwise, what the extension has no function of its own for


def _inexact(x: Any) -> Array:
    a = _arr(x)
    return a if "floating" in a.dtype.kind else _mc.astype(a, _mc.float32)


arccosh, arcsinh, arctanh = acosh, asinh, atanh


def exp2(x: Any, /) -> Array:
    return _mc.power(2.0, _inexact(x))


_BITS = {2: "int16", 4: "int32", 8: "int64"}


def signbit(x: Any, /) -> Array:
    a = _arr(x)
    if a.dtype.kind == "real floating":
        return _mc.bitcast(a, _BITS[a.itemsize]) < 0
    return a < 0


def copysign(x1: Any, x2: Any, /) -> Array:
    a, b = _pair(x1, x2)
    m = abs(a)
    return where(signbit(b), -m, m)


def _pair(x1: Any, x2: Any) -> tuple[Array, Array]:
    d = result_type(*(x if isinstance(x, (Array, bool, int, float, complex)) else _mc.array(x) for x in (x1, x2)))
    if "floating" not in d.kind:
        d = _mc.float32
    return _mc.array(x1, d), _mc.array(x2, d)


def hypot(x1: Any, x2: Any, /) -> Array:
    a, b = _pair(x1, x2)
    a, b = abs(a), abs(b)
    big, small = maximum(a, b), minimum(a, b)
    plain = isfinite(big) & (big > 0)
    ratio = where(plain, small, 0) / where(plain, big, 1)
    infinite = isinf(a) | isinf(b)
    return where(infinite, math.inf, where(big == 0, big, big * sqrt(1 + ratio * ratio)))


def nextafter(x1: Any, x2: Any, /) -> Array:
    a, b = _pair(x1, x2)
    a, b = _mc.broadcast_arrays([a, b])
    kind = _BITS[a.itemsize]
    bits = _mc.bitcast(a, kind)
    away = (b > a) == (a > 0)
    step = where(away, _mc.ones(a.shape, kind), _mc.full(a.shape, -1, kind))
    tiny = where(b > 0, _mc.bitcast(_mc.full(a.shape, 1, kind), a.dtype), -_mc.bitcast(_mc.full(a.shape, 1, kind), a.dtype))
    moved = where(a == 0, tiny, _mc.bitcast(bits + step, a.dtype))
    return where(isnan(a) | isnan(b), math.nan, where(a == b, b, moved))


def trunc(x: Any, /) -> Array:
    a = _arr(x)
    return a if a.dtype.kind != "real floating" else where(a < 0, ceil(a), floor(a))


def positive(x: Any, /) -> Array:
    return _mc.array(x)


def bitwise_invert(x: Any, /) -> Array:
    return ~_arr(x)


bitwise_not = invert = bitwise_invert


def clip(x: Any, /, min: Any = None, max: Any = None) -> Array:
    a = _arr(x)
    if min is None and max is None:
        return a
    numbers = (int, float, type(None))
    if isinstance(min, numbers) and isinstance(max, numbers):
        if not isinstance(min, float) and not isinstance(max, float) or "floating" in a.dtype.kind:
            return _mc.clip_scalar(a, min, max)
    out = a
    if min is not None:
        out = maximum(out, min)
    if max is not None:
        out = minimum(out, max)
    return _mc.astype(out, a.dtype)


def round(x: Any, /, decimals: int = 0) -> Array:
    a = _arr(x)
    if a.dtype.kind == "complex floating":
        if decimals:
            raise TypeError("round of complex numbers takes no decimals")
        return _mc.complex(_mc.round(real(a), 0), _mc.round(imag(a), 0))
    return _mc.round(a, decimals)


def gelu(x: Any, exact: bool = True) -> Array:
    return _mc.gelu(x, exact)


def nan_to_num(x: Any, nan: float = 0.0) -> Array:
    return _mc.nan_to_num(x, nan)


# ---- reductions


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
    axes = _range(a.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
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
    for _ in _range(n):
        size = a.shape[axis]
        if size == 0:
            break
        low, high = [slice(None)] * a.ndim, [slice(None)] * a.ndim
        low[axis], high[axis] = slice(0, size - 1), slice(1, size)
        a = a[_tuple(high)] ^ a[_tuple(low)] if a.dtype == _mc.bool else a[_tuple(high)] - a[_tuple(low)]
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
        return _mc.tensordot(a, b, list(_range(a.ndim - axes, a.ndim)), list(_range(axes)))
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


# ---- indexing, searching, sorting, sets


def take(x: Any, indices: Any, /, axis: int | None = None) -> Array:
    return _mc.take(x, indices, axis)


def take_along_axis(x: Any, indices: Any, /, axis: int = -1) -> Array:
    return _mc.take_along_axis(x, indices, axis)


def nonzero(x: Any, /, *, size: int | None = None) -> tuple[Array, ...]:
    return _tuple(_mc.nonzero(x, size))


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


from collections import namedtuple  # noqa: E402

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


__all__ = [
    "abs", "acos", "acosh", "add", "all", "any", "arange", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2",
    "arctanh", "argmax", "argmin", "argpartition", "argsort", "argwhere", "array", "asarray", "asin", "asinh", "astype", "atan",
    "atan2", "atanh", "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift",
    "bitwise_xor", "broadcast_arrays", "broadcast_shapes", "broadcast_to", "can_cast", "ceil", "clip", "concat", "concatenate",
    "conj", "copysign", "cos", "cosh", "count_nonzero", "cumprod", "cumsum", "cumulative_prod", "cumulative_sum", "diag", "diff",
    "divide", "dot", "einsum", "empty", "empty_like", "equal", "erf", "erfinv", "exp", "exp2", "expand_dims", "expm1", "eye",
    "finfo", "flatten", "flip", "floor", "floor_divide", "full", "full_like", "gelu", "greater", "greater_equal", "hypot",
    "iinfo", "imag", "inner", "invert", "isdtype", "isfinite", "isin", "isinf", "isnan", "left_shift", "less", "less_equal",
    "linspace", "log", "log10", "log1p", "log2", "logaddexp", "logical_and", "logical_not", "logical_or", "logical_xor",
    "logsumexp", "matmul", "matrix_transpose", "max", "maximum", "mean", "meshgrid", "min", "minimum", "moveaxis", "multiply",
    "nan_to_num", "negative", "nextafter", "nonzero", "not_equal", "ones", "ones_like", "outer", "pad", "partition",
    "permute_dims", "positive", "pow", "power", "prod", "real", "reciprocal", "relu", "remainder", "repeat", "reshape",
    "result_type", "right_shift", "roll", "round", "rsqrt", "searchsorted", "sigmoid", "sign", "signbit", "silu", "sin", "sinh",
    "sort", "split", "sqrt", "square", "squeeze", "stack", "std", "stop_gradient", "subtract", "sum", "swapaxes", "take",
    "take_along_axis", "tan", "tanh", "tensordot", "tile", "topk", "transpose", "tri", "tril", "triu", "trunc", "unique_all",
    "unique_counts", "unique_inverse", "unique_values", "unstack", "var", "vecdot", "where", "zeros", "zeros_like",
]
