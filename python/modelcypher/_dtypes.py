"""Dtypes: their limits, kinds and promotion."""
from __future__ import annotations

from typing import Any

from . import _mc
from ._common import Array, _on
from ._mc import Dtype

isdtype_kinds = {
    "bool": ("bool",), "signed integer": ("signed integer",), "unsigned integer": ("unsigned integer",),
    "integral": ("signed integer", "unsigned integer"), "real floating": ("real floating",), "complex floating": ("complex floating",),
    "numeric": ("signed integer", "unsigned integer", "real floating", "complex floating"),
}


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
    if isinstance(kind, tuple):
        return any(isdtype(d, k) for k in kind)
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
