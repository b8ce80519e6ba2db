"""Metadata and float64 weights of one GGUF file."""

from __future__ import annotations

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize


class Checkpoint:
    """Reads a GGUF file with the `gguf` package; weights are widened to float64 when asked for."""

    def __init__(self, path):
        self.reader = GGUFReader(path)
        self.tensors = {tensor.name: tensor for tensor in self.reader.tensors}
        self.architecture = self.get("general.architecture")

    def get(self, key, default=None):
        """The metadata value of `key`, or `default` where the file lacks it."""
        field = self.reader.fields.get(key)
        return default if field is None else field.contents()

    def hyper(self, name, default=None):
        """A hyperparameter of this architecture; a missing one without default is an error."""
        value = self.get(f"{self.architecture}.{name}", default)
        if value is None:
            raise KeyError(f"{self.architecture}.{name} is not in the file's metadata")
        return value

    def has(self, name):
        return name in self.tensors

    def rows(self, name, start=None, stop=None):
        """Rows [start, stop) of a tensor as float64. GGUF stores matrices as [out, in] in row-major order."""
        tensor = self.tensors[name]
        return dequantize(tensor.data[start:stop], tensor.tensor_type).astype(np.float64)

    def row_count(self, name):
        return self.tensors[name].data.shape[0]

    def take_rows(self, name, indices):
        tensor = self.tensors[name]
        return dequantize(tensor.data[np.asarray(indices)], tensor.tensor_type).astype(np.float64)
