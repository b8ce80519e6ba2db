"""ModelCypher. In work: the extension's functions as they are; the array namespace is still to be written."""
from __future__ import annotations

from . import errors
from ._mc import Array, Device, Dtype, array, async_eval, bool, eval, float32, float64, int32, int64, version as __version__

__all__ = ["Array", "Device", "Dtype", "__version__", "array", "async_eval", "bool", "errors", "eval", "float32", "float64",
           "int32", "int64"]
