"""A backend's methods inside jax.jit: a call from JAX's program back to the engine."""
from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from .. import _array, _mc, _tree


def traced(args: Any) -> bool:
    jax = sys.modules.get("jax")
    if jax is None:
        return False
    leaves = _tree.flatten(args, lambda x: not isinstance(x, (list, tuple, dict)))[0]
    return any(isinstance(x, jax.core.Tracer) for x in leaves)


def called_from_jax(f: Callable, self: Any, args: tuple, kwargs: dict) -> Any:
    """A method inside jax.jit: shapes from our own graph, numbers from our engine when JAX's program runs."""
    import jax
    import numpy

    is_jax = lambda x: isinstance(x, (jax.core.Tracer, jax.Array, numpy.ndarray, _mc.Array))  # noqa: E731
    leaves, structure = _tree.flatten((args, kwargs), is_jax)
    leaves = [_array._to_numpy(x) if isinstance(x, _mc.Array) else x for x in leaves]
    abstract = [_mc.zeros(x.shape, _mc.parse_dtype(x.dtype)) for x in leaves]
    a, k = _tree.unflatten(structure, abstract)
    out, out_structure = _tree.flatten(f(self, *a, **k), lambda x: isinstance(x, _mc.Array))
    shapes = [jax.ShapeDtypeStruct(o.shape, jax.numpy.dtype(o.dtype.name)) for o in out]

    def run(*values: Any) -> list[Any]:
        a, k = _tree.unflatten(structure, [_mc.array(numpy.asarray(v)) for v in values])
        results = _tree.flatten(f(self, *a, **k), lambda x: isinstance(x, _mc.Array))[0]
        return [_array._to_numpy(r).astype(s.dtype, copy=False) for r, s in zip(results, shapes)]

    return _tree.unflatten(out_structure, list(jax.pure_callback(run, shapes, *leaves)))
