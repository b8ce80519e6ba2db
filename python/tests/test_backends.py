"""The protocol of modelcypher.backends: its 78 methods and what was added, on every engine present, beside NumPy."""
from __future__ import annotations

import inspect
import subprocess
import sys

import modelcypher as mc
import numpy as np
import pytest
from modelcypher import backends
from modelcypher.backends import _base

# Names and defaults that users of the original call by.
PROTOCOL = """
array(data, dtype=None) zeros(shape, dtype=None) ones(shape, dtype=None) full(shape, fill_value, dtype=None) zeros_like(array, dtype=None)
ones_like(array, dtype=None) eye(n, m=None, dtype=None) arange(start, stop=None, step=1, dtype=None) linspace(start, stop, num, dtype=None)
diag(array, k=0) shape(array) reshape(array, shape) squeeze(array, axis=None) expand_dims(array, axis) transpose(array, axes=None)
stack(arrays, axis=0) concatenate(arrays, axis=0) broadcast_to(array, shape) sum(array, axis=None, keepdims=False)
mean(array, axis=None, keepdims=False) var(array, axis=None, keepdims=False) std(array, axis=None, keepdims=False)
max(array, axis=None, keepdims=False) min(array, axis=None, keepdims=False) argmax(array, axis=None) argmin(array, axis=None) sqrt(array)
exp(array) log(array) abs(array) sign(array) sin(array) cos(array) arccos(array) maximum(lhs, rhs) minimum(lhs, rhs)
clip(array, min_val, max_val) where(condition, x, y) softmax(array, axis=-1) cumsum(array, axis=None) matmul(lhs, rhs) dot(a, b)
svd(array, compute_uv=True) norm(array, axis=None, keepdims=False) det(array) eigh(array) solve(a, b) inv(array) cholesky(array) trace(array)
qr(array) take(array, indices, axis=None) sort(array, axis=-1) argsort(array, axis=-1) argpartition(array, kth, axis=-1)
partition(array, kth, axis=-1) random_seed(seed) random_normal(shape, dtype=None) random_uniform(low=0.0, high=1.0, shape=None, dtype=None)
random_randint(low, high, shape=None) random_categorical(logits, num_samples=1) astype(array, dtype) to_numpy(array) finfo(dtype=None)
quantize(weight, group_size=64, bits=4, mode='affine') dequantize(weight, scales, biases=None, group_size=64, bits=4, mode='affine')
create_causal_mask(seq_len, dtype=None) eval(*arrays) clear_cache() async_eval(*arrays) new_stream(device='gpu') synchronize()
compile(fun, inputs=None, outputs=None, shapeless=False) vmap(fun, in_axes=0, out_axes=0) rms_norm(x, weight, eps=1e-05)
layer_norm(x, weight=None, bias=None, eps=1e-05) rope(x, dims, traditional=False, base=10000.0, scale=1.0, offset=0)
scaled_dot_product_attention(q, k, v, scale, mask=None)
"""
ADDED = {"dtype", "grad", "value_and_grad", "vjp", "stream"}


def test_signatures():
    wanted = [s.strip() + ")" for s in PROTOCOL.replace("\n", " ").split(") ") if s.strip()]
    wanted = [w.replace("))", ")") for w in wanted]
    assert len(wanted) == 78
    for cls in (backends.NumPyBackend, backends.CUDABackend, backends.JAXBackend, backends.MLXBackend):
        own = set()
        for w in wanted:
            name = w.partition("(")[0]
            signature = inspect.signature(getattr(cls, name))
            plain = [p.replace(annotation=inspect.Parameter.empty) for n, p in signature.parameters.items() if n != "self"]
            assert f"{name}{inspect.Signature(plain)}" == w
            own.add(name)
        assert set(_base.PROTOCOL) == own | ADDED


R = np.random.default_rng(3)
A = R.standard_normal((4, 4)).astype(np.float32)
S = (A @ A.T + 4 * np.eye(4)).astype(np.float32)
V = R.standard_normal((3, 5)).astype(np.float32)


def soft(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


# method, arguments, NumPy's answer
CASES = [
    ("array", ([[1, 2], [3, 4]],), lambda: [[1, 2], [3, 4]]), ("zeros", ((2, 3),), lambda: np.zeros((2, 3))), ("ones", (3,), lambda: np.ones(3)),
    ("full", ((2,), 7), lambda: [7, 7]), ("zeros_like", (V,), lambda: 0 * V), ("ones_like", (V,), lambda: 0 * V + 1),
    ("eye", (2, 3), lambda: np.eye(2, 3)), ("arange", (5,), lambda: np.arange(5)), ("arange", (1, 7, 2), lambda: np.arange(1, 7, 2)),
    ("linspace", (0, 1, 5), lambda: np.linspace(0, 1, 5)), ("diag", (np.arange(3), 1), lambda: np.diag(np.arange(3), 1)),
    ("diag", (A, -1), lambda: np.diag(A, -1)), ("reshape", (V, (5, 3)), lambda: V.reshape(5, 3)), ("squeeze", (V[None],), lambda: V),
    ("squeeze", (V[None], 0), lambda: V), ("expand_dims", (V, (0, 2)), lambda: np.expand_dims(V, (0, 2))),
    ("transpose", (V[None],), lambda: V[None].T), ("transpose", (V, (1, 0)), lambda: V.T), ("stack", ([V, V], 1), lambda: np.stack([V, V], 1)),
    ("concatenate", ([V, V], 1), lambda: np.concatenate([V, V], 1)), ("broadcast_to", (V[0], (2, 5)), lambda: np.broadcast_to(V[0], (2, 5))),
    ("sum", (V, 0), lambda: V.sum(0)), ("sum", (V, (0, 1)), lambda: V.sum()), ("mean", (V, 1, True), lambda: V.mean(1, keepdims=True)),
    ("var", (V,), lambda: V.var()), ("std", (V, 0), lambda: V.std(0)), ("max", (V, 0), lambda: V.max(0)), ("min", (V,), lambda: V.min()),
    ("argmax", (V, 1), lambda: V.argmax(1)), ("argmin", (V,), lambda: V.argmin()), ("sqrt", (abs(V),), lambda: np.sqrt(abs(V))),
    ("exp", (V,), lambda: np.exp(V)), ("log", (abs(V),), lambda: np.log(abs(V))), ("abs", (V,), lambda: abs(V)), ("sign", (V,), lambda: np.sign(V)),
    ("sin", (V,), lambda: np.sin(V)), ("cos", (V,), lambda: np.cos(V)), ("arccos", (V / 4,), lambda: np.arccos(V / 4)),
    ("maximum", (V, 0.1), lambda: np.maximum(V, 0.1)), ("minimum", (V, V[0]), lambda: np.minimum(V, V[0])),
    ("clip", (V, -0.5, None), lambda: np.maximum(V, -0.5)), ("clip", (V, V[0], 2.0), lambda: np.minimum(np.maximum(V, V[0]), 2)),
    ("where", (V > 0, V, 0.0), lambda: np.where(V > 0, V, 0)), ("softmax", (V, 0), lambda: soft(V, 0)), ("cumsum", (V, 1), lambda: V.cumsum(1)),
    ("cumsum", (V,), lambda: V.cumsum()), ("matmul", (A, S), lambda: A @ S), ("dot", (V[0], V[1]), lambda: V[0] @ V[1]),
    ("norm", (V,), lambda: np.linalg.norm(V)), ("norm", (V, 1, True), lambda: np.linalg.norm(V, axis=1, keepdims=True)),
    ("det", (S,), lambda: np.linalg.det(S)), ("solve", (S, A), lambda: np.linalg.solve(S, A)), ("inv", (S,), lambda: np.linalg.inv(S)),
    ("cholesky", (S,), lambda: np.linalg.cholesky(S)), ("trace", (A,), lambda: np.trace(A)), ("take", (V, [2, 0], 0), lambda: V[[2, 0]]),
    ("take", (V, [7, 1]), lambda: V.ravel()[[7, 1]]), ("sort", (V,), lambda: np.sort(V)), ("argsort", (V, 0), lambda: np.argsort(V, 0)),
    ("create_causal_mask", (3,), lambda: np.triu(np.full((3, 3), -np.inf), 1)), ("astype", (V, "int32"), lambda: V.astype("int32")),
    ("rms_norm", (V, np.ones(5, np.float32)), lambda: V / np.sqrt((V * V).mean(-1, keepdims=True) + 1e-5)),
    ("layer_norm", (V, None, None), lambda: (V - V.mean(-1, keepdims=True)) / np.sqrt(V.var(-1, keepdims=True) + 1e-5)),
]  # fmt: skip


@pytest.mark.parametrize("name, arguments, want", CASES, ids=lambda x: x if isinstance(x, str) else "")
def test_method(backend, name, arguments, want):
    got = backend.to_numpy(getattr(backend, name)(*arguments))
    expected = np.asarray(want())
    assert got.shape == expected.shape
    # Matrices of 4 × 4 with a condition below 100, in float32.
    np.testing.assert_allclose(got.astype(float), expected.astype(float), rtol=2e-5, atol=2e-5)


def test_decompositions(backend):
    t = backend.to_numpy
    u, s, vt = map(t, backend.svd(V))
    np.testing.assert_allclose(u * s @ vt, V, atol=1e-5)
    np.testing.assert_allclose(t(backend.svd(V, compute_uv=False)), s, atol=1e-5)
    w, v = map(t, backend.eigh(S))
    assert (np.diff(w) >= 0).all()
    np.testing.assert_allclose(S @ v, v * w, atol=1e-4)
    q, r = map(t, backend.qr(A))
    np.testing.assert_allclose(q @ r, A, atol=1e-5)


def test_partitions(backend):
    x = R.permutation(9).astype(np.float32)
    p = backend.to_numpy(backend.partition(x, 3))
    assert p[3] == 3 and set(p[:3]) == {0, 1, 2} and len(p) == 9
    i = backend.to_numpy(backend.argpartition(x, 3))
    assert sorted(i) == list(range(9)) and x[i[3]] == 3 and set(x[i[:3]]) == {0, 1, 2}


def test_random_is_the_same_everywhere(backend):
    def draw(b):
        b.random_seed(42)
        return [b.to_numpy(x) for x in (b.random_uniform(-1.0, 1.0, (50,)), b.random_randint(3, 9, (50,)), b.random_normal((50,)),
                                        b.random_categorical(np.zeros((2, 5), np.float32), 7), b.random_uniform())]  # fmt: skip

    own, again, host = draw(backend), draw(backend), draw(backends.get_backend("numpy"))
    for a, b, c in zip(own, again, host):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=1e-5)
    assert own[3].shape == (2, 7) and set(own[1]) <= set(range(3, 9)) and own[4].shape == ()


def test_types(backend):
    assert backend.array([1, 2]).dtype == "int32"
    assert backend.dtype(backend.zeros(2)) == mc.float32
    assert backend.shape(backend.zeros((2, 3))) == (2, 3)
    assert backend.finfo().eps == np.finfo(np.float32).eps
    assert backend.finfo("bfloat16").eps == 2.0**-7
    n = backend.to_numpy(backend.ones(3))
    n[0] = 5  # the original's measures write to what they get
    assert backend.to_numpy(backend.astype(backend.array([1.5]), "bfloat16")).dtype == np.float32


@pytest.mark.parametrize("bits", [4, 8])
def test_quantize(backend, bits):
    w = R.standard_normal((6, 128)).astype(np.float32)
    packed, scales, biases = backend.quantize(w, 32, bits, "affine")
    assert packed.dtype == mc.uint32 and packed.shape == (6, 128 * bits // 32) and scales.shape == biases.shape == (6, 4)
    back = backend.to_numpy(backend.dequantize(packed, scales, biases, 32, bits, "affine"))
    step = backend.to_numpy(scales).repeat(32, 1)
    # Half a step; the end of a group that is nearer to zero may be cut off, by at most one.
    assert (abs(back - w) <= abs(step) * 1.001).all()
    assert (abs(back - w) <= abs(step) * 0.501).mean() > 0.9
    with pytest.raises(NotImplementedError):
        backend.quantize(w, 32, 4, "mxfp4")


def test_rope_and_attention(backend):
    x = R.standard_normal((1, 2, 3, 8)).astype(np.float32)
    angle = (np.arange(3) + 5)[:, None] * 10000.0 ** (-np.arange(4) / 4)
    c, s = np.cos(angle), np.sin(angle)
    halves = np.concatenate([x[..., :4] * c - x[..., 4:] * s, x[..., :4] * s + x[..., 4:] * c], -1)
    np.testing.assert_allclose(backend.to_numpy(backend.rope(x, 8, offset=5)), halves, atol=1e-5)
    pairs = np.empty_like(x)
    pairs[..., ::2], pairs[..., 1::2] = x[..., ::2] * c - x[..., 1::2] * s, x[..., ::2] * s + x[..., 1::2] * c
    np.testing.assert_allclose(backend.to_numpy(backend.rope(x, 8, True, offset=5)), pairs, atol=1e-5)
    mask = np.triu(np.full((3, 3), -np.inf, np.float32), 1)
    got = backend.scaled_dot_product_attention(x, x[:, :1], x[:, :1], 0.3, backend.create_causal_mask(3))
    k = x[:, :1].repeat(2, 1)
    want = soft(0.3 * x @ k.swapaxes(-1, -2) + mask) @ k
    np.testing.assert_allclose(backend.to_numpy(got), want, atol=1e-5)


def test_transforms(backend):
    x = backend.array([1.0, 2.0])
    assert backend.to_numpy(backend.grad(lambda v: backend.sum(v * v))(x)).tolist() == [2, 4]
    value, g = backend.value_and_grad(lambda v: backend.sum(v * v))(x)
    assert float(value) == 5 and g.tolist() == [2, 4]
    assert backend.vjp(backend.sin, [backend.zeros(2)], [backend.ones(2)])[1][0].tolist() == [1, 1]
    assert backend.to_numpy(backend.compile(lambda v: backend.matmul(v, v) + 1)(x)) == 6
    assert backend.vmap(lambda v: backend.sum(v))(backend.ones((3, 2))).tolist() == [2, 2, 2]


def test_control(backend):
    a = backend.ones((10, 10))
    b = backend.matmul(a, a)
    assert not b.is_evaluated
    backend.async_eval([b])
    backend.eval({"b": b})
    assert b.is_evaluated and b.device == backend.device and backend.ones(3).eval() is None
    backend.eval()
    backend.synchronize()
    backend.clear_cache()
    with backend.stream(backend.new_stream()) as s:
        assert s.number > 0 and backend.to_numpy(backend.ones(2)).tolist() == [1, 1]
    assert backend.array([1.0]).device == backend.device or backend.name == "numpy"


def test_selection(monkeypatch):
    with pytest.raises(ValueError, match="Unknown backend type: abacus"):
        backends.get_backend("abacus")
    monkeypatch.setenv("MC_BACKEND", "numpy")
    backends.reset_default_backend()
    assert isinstance(backends.get_default_backend(), backends.NumPyBackend)
    assert backends.get_default_backend() is backends.get_default_backend()
    monkeypatch.setenv("MC_BACKEND", "abacus")
    backends.reset_default_backend()
    with pytest.raises(ValueError):
        backends.get_default_backend()
    backends.reset_default_backend()


@pytest.mark.parametrize("name, message", [("CUDABackend", "CUDA is required for the CUDA backend"),
                                           ("MLXBackend", "mlx is required for the MLX backend"),
                                           ("JAXBackend", "jax is required for the JAX backend")])  # fmt: skip
def test_missing_engine_says_how_to_get_it(name, message, build_path):
    # With nothing to be found: the places that the engines look into are named away.
    code = (f"from modelcypher.backends import {name}\ntry:\n    {name}()\nexcept ImportError as e:\n"
            "    assert isinstance(e, RuntimeError) and e.hint and e.code\n    print(e)")  # fmt: skip
    env = {"PYTHONPATH": str(build_path), "PATH": "/nowhere", "HOME": "/nowhere", "CUDA_VISIBLE_DEVICES": "",
           "MODELCYPHER_MLX": "/nowhere", "MODELCYPHER_PJRT_PLUGIN": "/nowhere/plugin.so", "MODELCYPHER_CUDA": "/nowhere"}  # fmt: skip
    r = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert r.stdout.startswith(message), r.stdout + r.stderr
    assert "next: " in r.stdout
