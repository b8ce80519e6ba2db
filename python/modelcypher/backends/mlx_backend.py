"""MLXBackend: Apple's MLX."""
from __future__ import annotations

from ._base import Backend


class MLXBackend(Backend):
    """The protocol on the mlx engine. Raises BackendMissing, a RuntimeError and an ImportError, where it can't run."""

    name = "mlx"


__all__ = ["MLXBackend"]
