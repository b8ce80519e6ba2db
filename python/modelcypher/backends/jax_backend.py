"""JAXBackend: XLA through PJRT, on CPUs, GPUs and TPUs; inside jax.jit a call of ours."""
from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from .. import _array, _mc, _tree
from ._base import Backend


def _tracers(args: Any) -> bool:
    jax = sys.modules.get("jax")
    if jax is None:
        return False
    leaves = _tree.flatten(args, lambda x: not isinstance(x, (list, tuple, dict)))[0]
    return any(isinstance(x, jax.core.Tracer) for x in leaves)


def _called_from_jax(f: Callable, self: Any, args: tuple, kwargs: dict) -> Any:
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


class JAXBackend(Backend):
    """The protocol on the jax engine. Raises BackendMissing, a RuntimeError and an ImportError, where it can't run.

    Inside `jax.jit` methods take JAX's traced arrays and give such: JAX's program calls back into this engine. Gradients
    do not pass through that call; use this backend's own grad."""

    name = "jax"

    @classmethod
    def _wrapped(cls, f: Callable) -> Callable:
        plain = super()._wrapped(f)

        @functools.wraps(f)
        def call(self: JAXBackend, *args: Any, **kwargs: Any) -> Any:
            if "jax" in sys.modules and _tracers((args, kwargs)):
                return _called_from_jax(plain, self, args, kwargs)
            return plain(self, *args, **kwargs)

        return call


__all__ = ["JAXBackend"]
