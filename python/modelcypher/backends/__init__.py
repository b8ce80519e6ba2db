"""The guide's classes: one protocol over every engine, chosen by name or found.

    from modelcypher.backends import get_backend
    backend = get_backend("cuda")
"""
from __future__ import annotations

import os

from .. import _mc
from ._base import Backend, FloatInfo, Stream

_CLASSES = {"numpy": "NumPyBackend", "cuda": "CUDABackend", "jax": "JAXBackend", "mlx": "MLXBackend"}
_default: Backend | None = None


def get_backend(name: str) -> Backend:
    """An engine by name ("numpy", "cuda", "jax", "mlx"), or one of its devices ("cuda:1", "jax:tpu")."""
    engine, _, device = name.lower().partition(":")
    if engine not in _CLASSES:
        raise ValueError(f"Unknown backend type: {name}. There are {', '.join(_CLASSES)}")
    module = __import__(f"modelcypher.backends.{engine}_backend", fromlist=["_"])
    return getattr(module, _CLASSES[engine])(*([f"{engine}:{device}"] if device else []))


def get_default_backend() -> Backend:
    """One for the process: what MC_BACKEND or MODELCYPHER_BACKEND names, else the engine that the library chooses."""
    global _default
    if _default is None:
        wanted = os.environ.get("MC_BACKEND") or os.environ.get("MODELCYPHER_BACKEND")
        _default = get_backend(wanted or repr(_mc.default_device()))
    return _default


def set_default_backend(backend: Backend) -> None:
    """Makes `backend` the process' default; arrays made without a backend are computed there, too."""
    global _default
    _default = backend
    _mc.set_default_device(backend.device)


def reset_default_backend() -> None:
    global _default
    _default = None


def __getattr__(name: str):
    for engine, cls in _CLASSES.items():
        if name == cls:
            return getattr(__import__(f"modelcypher.backends.{engine}_backend", fromlist=["_"]), cls)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Backend", "CUDABackend", "FloatInfo", "JAXBackend", "MLXBackend", "NumPyBackend", "Stream", "get_backend",
           "get_default_backend", "reset_default_backend", "set_default_backend"]
