"""Whole models in float64 NumPy: the oracle that the engines are judged by.

Written from the papers and model cards, with one plain expression a formula, no cache, no chunking and nothing shared with
the C++ code. Only the block formats' decoding is borrowed: it is the `gguf` package's.
"""

from .loader import load

__all__ = ["load"]
