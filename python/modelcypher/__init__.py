"""ModelCypher: one array API over four engines, models, and a look inside them.

    import modelcypher as mc

    x = mc.array([1, 2, 3]) + 1
    mc.grad(lambda w: (w * w).sum())(mc.array([1.0, 2.0]))
    model = mc.load("model.gguf")

Arrays are lazy values: nothing is computed before eval, printing, or a look at the numbers.
"""
from __future__ import annotations

import importlib as _importlib
import math as _math
import os as _os
import sys as _sys
from typing import TYPE_CHECKING, Any

from . import _array, _mc, _ops, errors, fast, fft, linalg, random
from ._convert import from_dlpack
from ._info import Info as __array_namespace_info__
from ._mc import (
    Array,
    Device,
    Dtype,
    async_eval,
    backend_status,
    bfloat16,
    bitcast,
    bool,
    boolean_mask,
    clear_cache,
    complex64,
    complex128,
    create_causal_mask,
    default_device,
    device_scope,
    eval,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    memory_stats,
    num_threads,
    op_table,
    reset_peak_memory,
    set_default_device,
    set_log_level,
    set_memory_limit,
    set_num_threads,
    synchronize,
    to_device,
    uint8,
    uint16,
    uint32,
    uint64,
)
from ._mc import version as __version__
from ._ops import *  # noqa: F403
from ._transforms import checkpoint, compile, grad, value_and_grad, vjp, vmap
from .fast import log_softmax, softmax
from .linalg import matrix_transpose

if _sys.prefix != _sys.base_prefix:  # engines seek their libraries in the environment of this Python, activated or not
    _os.environ.setdefault("VIRTUAL_ENV", _sys.prefix)

if TYPE_CHECKING:
    from . import backends as backends
    from . import plot as plot
    from . import probe as probe
    from ._model import Edit as Edit
    from ._model import Model as Model
    from ._model import load as load

_API_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")
__array_api_version__ = "2025.12"
e, inf, nan, newaxis, pi = _math.e, _math.inf, _math.nan, None, _math.pi

__all__ = [
    "Array", "Device", "Dtype", "__array_api_version__", "__array_namespace_info__", "__version__", "async_eval",
    "backend_status", "bfloat16", "bitcast", "bool", "boolean_mask", "checkpoint", "clear_cache", "compile", "complex128",
    "complex64", "create_causal_mask", "default_device", "device_scope", "e", "errors", "eval", "fast", "fft", "float16",
    "float32", "float64", "from_dlpack", "grad", "inf", "int16", "int32", "int64", "int8", "linalg", "log_softmax",
    "matrix_transpose", "memory_stats", "nan", "newaxis", "num_threads", "op_table", "pi", "random", "reset_peak_memory",
    "set_default_device", "set_log_level", "set_memory_limit", "set_num_threads", "softmax", "synchronize", "to_device", "uint16",
    "uint32", "uint64", "uint8", "value_and_grad", "vjp", "vmap",
]
__all__ += _ops.__all__

_LATER = {"backends": ".backends", "plot": ".plot", "probe": ".probe", "load": "._model", "Model": "._model", "Edit": "._model"}


if not TYPE_CHECKING:  # a name that is not there is an error for type checkers too

    def __getattr__(name: str) -> Any:
        if name not in _LATER:
            raise AttributeError(f"module 'modelcypher' has no attribute {name!r}")
        module = _importlib.import_module(_LATER[name], __name__)
        value = module if _LATER[name] == f".{name}" else getattr(module, name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER} - {"Any", "TYPE_CHECKING", "annotations"})
