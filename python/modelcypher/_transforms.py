"""grad, value_and_grad, vjp, vmap, compile and checkpoint of Python functions.

Arguments and results are arrays, or nested lists, tuples and dicts of them. Python numbers that are differentiated or
mapped become arrays; others stay as they are and count as constants.
"""
from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from . import _mc, _tree
from ._mc import Array


def _is_array(x: Any) -> bool:
    return isinstance(x, Array)


def _is_value(x: Any) -> bool:
    return isinstance(x, (Array, float, complex)) or (isinstance(x, int) and not isinstance(x, bool))


def _key(structure: Any) -> Any:
    """A structure that can be looked up: what can't be hashed counts by identity."""
    try:
        hash(structure)
        return structure
    except TypeError:
        if isinstance(structure, tuple):
            return tuple(_key(s) for s in structure)
        return id(structure)


class _Flat:
    """fun as a function of flat lists of arrays, and the structure of its last result."""

    def __init__(self, fun: Callable, structure: Any):
        self.fun, self.structure, self.out, self.count = fun, structure, None, 0

    def __call__(self, leaves: list[Array]) -> list[Array]:
        args, kwargs = _tree.unflatten(self.structure, leaves)
        out, self.out = _tree.flatten(self.fun(*args, **kwargs), _is_value)
        return [_mc.array(x) for x in out]


def _split(args: tuple, kwargs: dict, chosen: Sequence[int]) -> tuple[list[Array], Any, list[int], list[Any]]:
    """Leaves, their structure, the numbers of the leaves below args[chosen] and the structure of each of those."""
    leaves: list[Any] = []
    parts, numbers, structures = [], [], []
    wanted = set(chosen)
    for i, a in enumerate(args):
        own, s = _tree.flatten(a, _is_value if i in wanted else _is_array)
        parts.append(s)
        leaves += own
    own, s = _tree.flatten(kwargs, _is_array)
    leaves += own
    starts, at = [], 0
    for i, a in enumerate(args):
        n = len(_tree.flatten(a, _is_value if i in wanted else _is_array)[0])
        starts.append((at, n))
        at += n
    for i in chosen:
        begin, n = starts[i]
        numbers += range(begin, begin + n)
        structures.append((parts[i], n))
    return [_mc.array(x) for x in leaves], (list, tuple, None, ((list, tuple, None, tuple(parts)), s)), numbers, structures


def _argnums(argnums: int | Sequence[int], n: int) -> list[int]:
    chosen = [argnums] if isinstance(argnums, int) else list(argnums)
    for i in chosen:
        if not -n <= i < n:
            raise ValueError(f"argnums has {i}, but the function was called with {n} positional arguments")
    return [i % n for i in chosen]


def value_and_grad(fun: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable:
    """A function that gives (fun(...), gradient); fun's result, or with has_aux the first of its pair, is a scalar."""

    @functools.wraps(fun)
    def call(*args: Any, **kwargs: Any) -> Any:
        chosen = _argnums(argnums, len(args))
        leaves, structure, numbers, structures = _split(args, kwargs, chosen)
        flat = _Flat(fun, structure)
        out, grads = _mc.value_and_grad(flat, numbers, leaves)
        result, at = [], 0
        for s, n in structures:
            result.append(_tree.unflatten(s, grads[at : at + n]))
            at += n
        value = _tree.unflatten(flat.out, out)
        if has_aux and not (isinstance(value, tuple) and len(value) == 2):
            raise TypeError("with has_aux the function gives a pair: (value, anything)")
        return value, result[0] if isinstance(argnums, int) else tuple(result)

    return call


def grad(fun: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable:
    """The gradient of a function with a scalar result with respect to args[argnums]."""
    both = value_and_grad(fun, argnums, has_aux)

    @functools.wraps(fun)
    def call(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return call


def vjp(fun: Callable, primals: Sequence[Any], cotangents: Any) -> tuple[Any, Any]:
    """(fun(*primals), vector-Jacobian products): one product for each primal, of its shape. A single cotangent need not
    be in a list."""
    single = isinstance(primals, Array)
    args = (primals,) if single else tuple(primals)
    leaves, structure, _, structures = _split(args, {}, range(len(args)))
    flat = _Flat(fun, structure)
    out, products = _mc.vjp(flat, leaves, [_mc.array(c) for c in _tree.flatten(cotangents, _is_value)[0]])
    result, at = [], 0
    for s, n in structures:
        result.append(_tree.unflatten(s, products[at : at + n]))
        at += n
    return _tree.unflatten(flat.out, out), result[0] if single else result


def vmap(fun: Callable, in_axes: Any = 0, out_axes: Any = 0) -> Callable:
    """fun mapped over axis in_axes of its arguments (None: not mapped; one for each argument as a tuple or list)."""

    @functools.wraps(fun)
    def call(*args: Any) -> Any:
        axes = list(in_axes) if isinstance(in_axes, (tuple, list)) else [in_axes] * len(args)
        if len(axes) != len(args):
            raise ValueError(f"in_axes has {len(axes)} entries for {len(args)} arguments")
        leaves, structure, _, structures = _split(args, {}, range(len(args)))
        flat_axes = [a for a, (_, n) in zip(axes, structures) for _ in range(n)]
        flat = _Flat(fun, structure)

        # How many outputs there are is known when fun has run: the extension takes one axis for all then.
        if isinstance(out_axes, (tuple, list)):
            out = _mc.vmap(flat, flat_axes, list(out_axes))(leaves)
        elif out_axes == 0:
            out = _mc.vmap(flat, flat_axes, [])(leaves)
        else:
            out = [_mc.moveaxis(o, 0, out_axes) for o in _mc.vmap(flat, flat_axes, [])(leaves)]
        return _tree.unflatten(flat.out, out)

    return call


class _Program:
    """One compiled program: for one structure of the arguments."""

    def __init__(self, fun: Callable, structure: Any, inputs: Any, outputs: Any, shapeless: bool):
        self.flat = _Flat(fun, structure)
        self.inputs, self.outputs = inputs, outputs
        self.results = 0
        self.compiled = _mc.compile(self.trace, shapeless, [])

    def trace(self, leaves: list[Array]) -> list[Array]:
        state = _tree.flatten(self.inputs, _is_array)[0]
        own = leaves[len(state) :]
        kept = [_mc.array(s) for s in state]
        before = _tree.flatten(self.outputs, _is_array)[0]
        before_values = [_mc.array(s) for s in before]
        for s, traced in zip(state, leaves):
            s._assign(traced)
        try:
            out = self.flat(own)
            self.results = len(out)
            return out + [_mc.array(s) for s in _tree.flatten(self.outputs, _is_array)[0]]
        finally:  # what the function put into its state are values of the trace, not arrays to keep
            for s, value in zip(before, before_values):
                s._assign(value)
            for s, value in zip(state, kept):
                s._assign(value)
            if before:
                _tree.replace(self.outputs, before, _is_array)

    def __call__(self, leaves: list[Array]) -> Any:
        state = _tree.flatten(self.inputs, _is_array)[0]
        out = self.compiled(state + leaves)
        if len(out) > self.results:
            _tree.replace(self.outputs, out[self.results :], _is_array)
        return _tree.unflatten(self.flat.out, out[: self.results])


def compile(fun: Callable, inputs: Any = None, outputs: Any = None, shapeless: bool = False) -> Callable:
    """fun as one program, traced at its first call for each set of shapes and dtypes. Numbers, strings and the like are
    constants: other values trace again. `inputs` and `outputs` are lists or dicts of arrays beside the arguments that fun
    reads and that it sets. `shapeless`: dimensions that fun does not depend on may change without tracing again."""
    programs: dict[Any, _Program] = {}

    @functools.wraps(fun)
    def call(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = _tree.flatten((args, kwargs), _is_array)
        key = _key(structure)
        if key not in programs:
            programs[key] = _Program(fun, structure, inputs, outputs, shapeless)
        return programs[key](leaves)

    return call


def checkpoint(fun: Callable) -> Callable:
    """fun whose intermediate values are computed again for the gradient and not kept."""

    @functools.wraps(fun)
    def call(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = _tree.flatten((args, kwargs), _is_array)
        flat = _Flat(fun, structure)
        out = _mc.checkpoint(flat)(leaves)
        return _tree.unflatten(flat.out, out)

    return call
