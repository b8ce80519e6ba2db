"""Derivatives, batching and compiling of Python functions."""
from __future__ import annotations

import modelcypher as mc
import numpy as np
import pytest


def loss(p, x, scale=1.0):
    return ((p["w"] @ x + p["b"][0]) ** 2).sum() * scale


P = {"w": mc.array([[1.0, -2.0], [0.5, 3.0]]), "b": [mc.array([1.0, -1.0])]}
XS = mc.array([2.0, 1.0])


def test_grad_of_trees():
    r = np.array([[1.0, -2.0], [0.5, 3.0]]) @ [2, 1] + [1, -1]
    value, g = mc.value_and_grad(loss)(P, XS)
    assert value.item() == (r**2).sum()
    np.testing.assert_array_equal(np.asarray(g["w"]), np.outer(2 * r, [2, 1]))
    np.testing.assert_array_equal(np.asarray(g["b"][0]), 2 * r)
    gp, gx = mc.grad(loss, argnums=(0, 1))(P, XS, scale=2.0)
    np.testing.assert_array_equal(np.asarray(gx), 4 * np.array([[1.0, -2.0], [0.5, 3.0]]).T @ r)
    assert mc.grad(mc.grad(lambda x: x**3))(2.0).item() == 12
    (v, aux), g = mc.value_and_grad(lambda x: (x * x, x + 1), has_aux=True)(mc.array(3.0))
    assert (v.item(), aux.item(), g.item()) == (9, 4, 6)


def test_vjp():
    out, products = mc.vjp(lambda x, y: (x * y, x + y), [mc.array([1.0, 2.0]), mc.array([3.0, 4.0])], [mc.ones(2), mc.zeros(2)])
    assert [o.tolist() for o in out] == [[3, 8], [4, 6]]
    assert [p.tolist() for p in products] == [[3, 4], [1, 2]]
    out, product = mc.vjp(mc.sin, mc.array([0.0]), mc.ones(1))
    assert product.tolist() == [1]


def test_vmap():
    a, b = mc.arange(12.0).reshape(3, 4), mc.arange(4.0)
    f = mc.vmap(lambda x, y: {"d": x @ y, "s": x + y}, in_axes=(0, None))
    out = f(a, b)
    np.testing.assert_array_equal(np.asarray(out["d"]), np.asarray(a) @ np.asarray(b))
    assert mc.vmap(lambda x: x * 2, in_axes=1, out_axes=1)(a).shape == (3, 4)
    assert mc.vmap(mc.grad(lambda x: x * x))(b).tolist() == [0, 2, 4, 6]
    with pytest.raises(ValueError, match="in_axes"):
        mc.vmap(lambda x: x, in_axes=(0, 0))(a)


def test_compile_traces_once_a_shape():
    calls = []

    def f(x, y, twice=False):
        calls.append(x.shape)
        z = x + y
        return {"z": z * 2 if twice else z}, x

    g = mc.compile(f)
    for _ in range(3):
        out, x = g(mc.ones(3), mc.ones(3))
        assert out["z"].tolist() == [2, 2, 2] and x.tolist() == [1, 1, 1]
    assert calls == [(3,)]
    assert g(mc.ones(3), mc.ones(3), twice=True)[0]["z"].tolist() == [4, 4, 4]
    assert g(mc.ones(2), 1)[0]["z"].tolist() == [2, 2]
    assert calls == [(3,), (3,), (2,)]


def test_compile_state():
    state = {"n": mc.array(0), "w": [mc.array([1.0])]}

    def step(x):
        state["n"] = state["n"] + 1
        state["w"][0] = state["w"][0] * x
        return state["w"][0].sum()

    f = mc.compile(step, inputs=state, outputs=state)
    assert [f(mc.array(2.0)).item() for _ in range(3)] == [2, 4, 8]
    assert state["n"].item() == 3 and state["w"][0].tolist() == [8]


def test_indexing_by_traced_numbers():
    a = mc.array([[1.0, 2.0], [3.0, 4.0]])
    f = mc.compile(lambda i: a[i])
    assert f(mc.array(1)).tolist() == [3, 4] and f(mc.array(0)).tolist() == [1, 2]
    np.testing.assert_array_equal(np.asarray(mc.vmap(lambda i: a[i, i])(mc.array([0, 1]))), [1, 4])


def test_checkpoint_gradient_is_the_same():
    f = lambda x: mc.sin(x * x).sum()  # noqa: E731
    x = mc.array([0.5, 1.5])
    assert mc.grad(mc.checkpoint(f))(x).tolist() == mc.grad(f)(x).tolist()


def test_errors_of_the_function_come_through():
    def bad(x):
        raise KeyError("mine")

    for transform in (mc.grad, mc.vmap, mc.compile):
        with pytest.raises(KeyError, match="mine"):
            transform(bad)(mc.array([1.0]))
    with pytest.raises(ValueError):
        mc.grad(lambda x: x)(mc.array([1.0, 2.0]))  # not a scalar
