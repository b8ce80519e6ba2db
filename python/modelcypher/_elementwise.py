"""Elementwise functions: the extension's own, and what it has no function for."""
from __future__ import annotations

import math
from typing import Any

from . import _mc
from ._common import Array, _arr, _inexact
from ._dtypes import result_type

# All take array-likes, positional.
from ._mc import abs as abs  # noqa: A004
from ._mc import arccos as acos
from ._mc import arccosh as acosh
from ._mc import arcsin as asin
from ._mc import arcsinh as asinh
from ._mc import arctan as atan
from ._mc import (
    arctan2,
    ceil,
    floor,
    imag,
    isfinite,
    isinf,
    isnan,
    maximum,
    minimum,
    power,
    real,
    sqrt,
    where,
)
from ._mc import arctanh as atanh
from ._mc import left_shift as bitwise_left_shift
from ._mc import right_shift as bitwise_right_shift

arccos, arcsin, arctan, atan2, pow = acos, asin, atan, arctan2, power
left_shift, right_shift = bitwise_left_shift, bitwise_right_shift


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
