"""CUDABackend: NVIDIA GPUs."""
from __future__ import annotations

from ._base import Backend


class CUDABackend(Backend):
    """The protocol on the cuda engine. Raises BackendMissing, a RuntimeError and an ImportError, where it can't run."""

    name = "cuda"


__all__ = ["CUDABackend"]
