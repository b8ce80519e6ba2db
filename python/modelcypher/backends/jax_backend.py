"""JAXBackend: XLA through PJRT, on CPUs, GPUs and TPUs."""
from __future__ import annotations

from ._base import Backend


class JAXBackend(Backend):
    """The protocol on the jax engine. Raises BackendMissing, a RuntimeError and an ImportError, where it can't run."""

    name = "jax"


__all__ = ["JAXBackend"]
