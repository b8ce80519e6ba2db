"""Linear algebra on the last two dimensions, batched; float32, float64, complex64 and complex128."""
from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

from . import _mc
from ._common import _arr, _inexact
from ._elementwise import abs
from ._mc import Array
from ._reduce import matmul, outer, tensordot, vecdot
from ._shape import matrix_transpose

EigResult = namedtuple("EigResult", ["eigenvalues", "eigenvectors"])
EighResult = namedtuple("EighResult", ["eigenvalues", "eigenvectors"])
QRResult = namedtuple("QRResult", ["Q", "R"])
SlogdetResult = namedtuple("SlogdetResult", ["sign", "logabsdet"])
SVDResult = namedtuple("SVDResult", ["U", "S", "Vh"])


def cholesky(x: Any, /, *, upper: bool = False) -> Array:
    return _mc.cholesky(x, upper)


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Array:
    a, b = _arr(x1), _arr(x2)
    if a.shape[axis] != 3 or b.shape[axis] != 3:
        raise ValueError("cross takes vectors of three elements")
    a, b = _mc.broadcast_arrays([a, b])
    (a0, a1, a2), (b0, b1, b2) = (_mc.split(v, 3, axis) for v in (a, b))
    return _mc.concatenate([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axis)


def det(x: Any, /) -> Array:
    return _mc.det(x)


def diagonal(x: Any, /, *, offset: int = 0) -> Array:
    a = _arr(x)
    m, n = a.shape[-2:]
    rows = max(0, min(m, n - offset) if offset >= 0 else min(m + offset, n))
    flat = _mc.reshape(a, [*a.shape[:-2], m * n])
    first = offset if offset >= 0 else -offset * n
    return _mc.take(flat, _mc.array([first + i * (n + 1) for i in range(rows)] or _mc.zeros([0], "int32")), -1)


def eig(x: Any, /) -> EigResult:
    return EigResult(*_mc.eig(x))


def eigvals(x: Any, /) -> Array:
    return _mc.eig(x)[0]


def eigh(x: Any, /) -> EighResult:
    return EighResult(*_mc.eigh(x))


def eigvalsh(x: Any, /) -> Array:
    return _mc.eigh(x)[0]


def inv(x: Any, /) -> Array:
    return _mc.inv(x)


def lstsq(a: Any, b: Any, rcond: float | None = None) -> Array:
    return _mc.lstsq(a, b, -1 if rcond is None else rcond)


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Array:
    a = _inexact(x)
    if ord == "fro":
        return _mc.norm(a, [-2, -1], keepdims)
    if ord in (1, -1, math.inf, -math.inf):
        inner = -2 if ord in (1, -1) else -1
        sums = _mc.sum(abs(a), inner, True)
        return (_mc.max if ord > 0 else _mc.min)(sums, [-2, -1], keepdims)
    if ord in (2, -2, "nuc"):
        s = _mc.svdvals(a)
        out = _mc.sum(s, -1, False) if ord == "nuc" else (_mc.max if ord == 2 else _mc.min)(s, -1, False)
        return _mc.expand_dims(out, [-2, -1]) if keepdims else out
    raise ValueError(f"matrix_norm has no ord {ord!r}")


def matrix_power(x: Any, n: int, /) -> Array:
    a = _arr(x)
    if n < 0:
        a, n = _mc.inv(a), -n
    out = _mc.broadcast_to(_mc.eye(a.shape[-1], a.shape[-1], 0, a.dtype), a.shape)
    while n:
        if n & 1:
            out = _mc.matmul(out, a)
        n >>= 1
        if n:
            a = _mc.matmul(a, a)
    return out


def _tolerance(s: Array, shape: tuple[int, ...], rtol: Any) -> Array:
    rtol = max(shape[-2:]) * _mc.finfo(s.dtype)[1] if rtol is None else rtol
    largest = _mc.max(s, -1, True)
    return largest * (_mc.expand_dims(rtol, -1) if isinstance(rtol, Array) and rtol.ndim else rtol)


def matrix_rank(x: Any, /, *, rtol: Any = None) -> Array:
    a = _inexact(x)
    s = _mc.svdvals(a)
    return _mc.sum(s > _tolerance(s, a.shape, rtol), -1, False)


def norm(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Array:
    """The 2-norm over an axis; Frobenius' over two or over all."""
    return _mc.norm(_inexact(x), axis, keepdims)


def pinv(x: Any, /, *, rtol: Any = None) -> Array:
    a = _inexact(x)
    if rtol is None or isinstance(rtol, float):
        return _mc.pinv(a, -1 if rtol is None else rtol)
    u, s, vt = _mc.svd(a)
    keep = s > _tolerance(s, a.shape, rtol)
    inverse = _mc.where(keep, 1 / _mc.where(keep, s, 1), 0)
    v, uh = _mc.conj(_mc.swapaxes(vt, -1, -2)), _mc.conj(_mc.swapaxes(u, -1, -2))
    return _mc.matmul(v * _mc.expand_dims(_mc.astype(inverse, a.dtype), -2), uh)


def qr(x: Any, /, *, mode: str = "reduced") -> QRResult:
    if mode not in ("reduced", "complete"):
        raise ValueError(f"qr has the modes 'reduced' and 'complete', not {mode!r}")
    return QRResult(*_mc.qr(x, mode == "complete"))


def slogdet(x: Any, /) -> SlogdetResult:
    """By QR: the determinant itself may pass the range of its dtype."""
    a = _inexact(x)
    q, r = _mc.qr(a)
    d = diagonal(r)
    logs = _mc.sum(_mc.log(abs(d)), -1, False)
    sign = _mc.sign(_mc.det(q)) * _mc.prod(_mc.astype(_mc.sign(d), a.dtype), -1, False)
    return SlogdetResult(sign, logs)


def solve(x1: Any, x2: Any, /) -> Array:
    return _mc.solve(x1, x2)


def solve_triangular(a: Any, b: Any, *, upper: bool = False) -> Array:
    return _mc.solve_triangular(a, b, upper)


def svd(x: Any, /, *, full_matrices: bool = True) -> SVDResult:
    return SVDResult(*_mc.svd(x, full_matrices))


def svdvals(x: Any, /) -> Array:
    return _mc.svdvals(x)


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Array:
    a = _arr(x)
    if dtype is not None:
        a = _mc.astype(a, dtype)
    elif a.dtype.kind == "unsigned integer" and a.itemsize < 4:
        a = _mc.astype(a, _mc.uint32)
    return _mc.trace(a, offset)


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Array:
    a = _inexact(x)
    if ord == 2:
        return _mc.norm(a, axis, keepdims)
    m = abs(a)
    if ord in (math.inf, -math.inf):
        return (_mc.max if ord > 0 else _mc.min)(m, axis, keepdims)
    if ord == 0:
        return _mc.sum(_mc.astype(m != 0, m.dtype), axis, keepdims)
    if ord == 1:
        return _mc.sum(m, axis, keepdims)
    return _mc.power(_mc.sum(_mc.power(m, float(ord)), axis, keepdims), 1 / ord)


__all__ = ["cholesky", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "inv", "lstsq", "matmul", "matrix_norm",
    "matrix_power",
           "matrix_rank", "matrix_transpose", "norm", "outer", "pinv", "qr", "slogdet", "solve", "solve_triangular", "svd", "svdvals",
           "tensordot", "trace", "vecdot", "vector_norm"]
