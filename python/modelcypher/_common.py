"""What the files of functions share."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import _mc
from ._mc import Array

Axis = int | Sequence[int] | None


def _arr(x: Any) -> Array:
    return x if isinstance(x, Array) else _mc.array(x)


def _on(device: Any, a: Array) -> Array:
    return a if device is None else _mc.to_device(a, device)


def _axis(i: int, n: int) -> int:
    if not -n <= i < n:
        raise IndexError(f"axis {i} is out of range for {n} dimensions")
    return i % n


def _inexact(x: Any) -> Array:
    a = _arr(x)
    return a if "floating" in a.dtype.kind else _mc.astype(a, _mc.float32)
