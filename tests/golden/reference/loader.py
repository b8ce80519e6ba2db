from __future__ import annotations

from .checkpoint import Checkpoint
from .gemma3 import Gemma3
from .llama import Llama

FAMILIES = {"llama": Llama, "gemma3": Gemma3}


def load(path):
    """The reference model of a GGUF file, chosen by `general.architecture`."""
    checkpoint = Checkpoint(path)
    family = FAMILIES.get(checkpoint.architecture)
    if family is None:
        raise ValueError(f"general.architecture is {checkpoint.architecture!r}; the reference knows {', '.join(FAMILIES)}")
    return family(checkpoint)
