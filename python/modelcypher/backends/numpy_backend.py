"""NumPyBackend: the host engine: the same bits for any number of threads."""
from __future__ import annotations

from ._base import Backend


class NumPyBackend(Backend):
    """The protocol on the numpy engine. Raises BackendMissing, a RuntimeError and an ImportError, where it can't run."""

    name = "numpy"


__all__ = ["NumPyBackend"]
