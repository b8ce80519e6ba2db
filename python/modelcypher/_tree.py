"""Nested lists, tuples and dicts of arrays as a flat list, and back."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

_LEAF = object()


def flatten(tree: Any, is_leaf: Callable[[Any], bool]) -> tuple[list[Any], Any]:
    """(leaves, structure); what is no leaf and no container is part of the structure."""
    leaves: list[Any] = []

    def walk(t: Any) -> Any:
        if is_leaf(t):
            leaves.append(t)
            return _LEAF
        if isinstance(t, dict):
            return (dict, type(t), tuple(t), tuple(walk(v) for v in t.values()))
        if isinstance(t, (list, tuple)):
            return (list, type(t), None, tuple(walk(v) for v in t))
        return (None, None, None, t)

    return leaves, walk(tree)


def unflatten(structure: Any, leaves: list[Any]) -> Any:
    rest = iter(leaves)

    def build(s: Any) -> Any:
        if s is _LEAF:
            return next(rest)
        kind, cls, keys, parts = s
        if kind is dict:
            return cls(zip(keys, map(build, parts)))
        if kind is list:
            items = [build(p) for p in parts]
            return cls(*items) if hasattr(cls, "_fields") else cls(items)
        return parts

    return build(structure)


def replace(tree: Any, leaves: list[Any], is_leaf: Callable[[Any], bool]) -> None:
    """Puts the leaves into the containers of `tree`, in place."""
    rest = iter(leaves)

    def walk(t: Any) -> None:
        items = t.items() if isinstance(t, dict) else enumerate(t) if isinstance(t, (list, tuple)) else ()
        for key, value in list(items):
            if not is_leaf(value):
                walk(value)
            elif isinstance(t, tuple):
                value._assign(next(rest))
            else:
                t[key] = next(rest)

    if is_leaf(tree):
        tree._assign(next(rest))
    else:
        walk(tree)
