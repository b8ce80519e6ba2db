"""What the array API standard's __array_namespace_info__ tells."""
from __future__ import annotations

from typing import Any

from . import _mc
from ._dtypes import isdtype

_DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64", "complex64", "complex128",
)


class Info:
    def capabilities(self) -> dict[str, Any]:
        """Boolean masks and shapes that depend on data are there outside of compile and vmap."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 10}

    def default_device(self) -> Any:
        return _mc.default_device()

    def default_dtypes(self, *, device: Any = None) -> dict[str, Any]:
        return {"real floating": _mc.float32, "complex floating": _mc.complex64, "integral": _mc.int32, "indexing": _mc.int32}

    def devices(self) -> tuple[Any, ...]:
        return tuple(_mc.Device(f"{s['name']}:{i}") for s in _mc.backend_status() if s["available"] for i in range(len(s["devices"])))

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, Any]:
        own = {name: getattr(_mc, name) for name in _DTYPES}
        return own if kind is None else {n: d for n, d in own.items() if isdtype(d, kind)}
