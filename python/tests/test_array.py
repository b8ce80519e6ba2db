"""Array beside NumPy: indexing, operators, other libraries' memory, pickling, text."""
from __future__ import annotations

import copy
import pickle

import modelcypher as mc
import numpy as np
import pytest

N = np.arange(24).reshape(2, 3, 4)
KEYS = [
    np.s_[0], np.s_[-1], np.s_[..., 1], np.s_[None, 0], np.s_[1, ::2, None], np.s_[::-1], np.s_[[1, 0]], np.s_[[0, 1], :, [2, 3]],
    np.s_[:, [2, 0]], np.s_[0, :, [1, 2]], N > 5, N[:, :, 0] > 5, np.s_[[[0, 1], [1, 0]]], np.s_[1, [0, 2], 1:3], np.s_[:, ::-2, 3], np.s_[...],
    (), np.s_[2:1], np.s_[-5::-1], np.s_[-9::-1, :-1], np.s_[:, :, [[0, 3], [1, 2]]], np.s_[np.array([True, False])], np.s_[:, -1:, None, ...],
    np.s_[np.int64(1), [0, 1], None, ::-1],
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_index_and_assign(key):
    a = mc.array(N)
    want = N[key]
    got = np.asarray(a[key])
    assert got.shape == want.shape
    np.testing.assert_array_equal(got, want)
    n, b = N.copy(), mc.array(a)
    n[key], b[key] = 7, 7
    np.testing.assert_array_equal(np.asarray(b), n)
    np.testing.assert_array_equal(np.asarray(a), N)  # a value: assignment shows nowhere else
    n, b = N.copy(), mc.array(a)
    values = np.arange(100, 100 + want.size).reshape(want.shape)
    n[key], b[key] = values, values
    np.testing.assert_array_equal(np.asarray(b), n)


@pytest.mark.parametrize("key", [np.s_[2], np.s_[0, 0, 0, 0], np.s_[..., ...], np.s_[0.5], np.s_["x"], np.s_[np.array([True])], np.s_[:, [0.5]]],
                         ids=repr)
def test_bad_index(key):
    with pytest.raises(IndexError):
        mc.array(N)[key]


def test_assigned_numbers_keep_their_digits():
    a = mc.zeros(2, dtype="float64")
    a[0] = 16777217.0
    assert a.at[1].add(16777217.0).tolist() == [16777217.0, 16777217.0]


def test_at_combines_duplicates():
    a = mc.zeros(4).at[[1, 1, 3]].add([1.0, 2.0, 5.0])
    assert a.tolist() == [0, 3, 0, 5]
    assert mc.array([1, 2]).at[0].set(9).tolist() == [9, 2]
    assert mc.array([3.0, 2.0]).at[[0, 0]].max([1.0, 8.0]).tolist() == [8, 2]


@pytest.mark.parametrize("f", [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / b, lambda a, b: a // b,
                               lambda a, b: a % b, lambda a, b: a**b, lambda a, b: a < b, lambda a, b: a == b])  # fmt: skip
def test_operators_with_numbers_and_numpy(f):
    x, y = np.array([1.5, -2.0, 4.0], np.float32), np.array([2.0, 3.0, 0.5], np.float32)
    for a, b in ((mc.array(x), mc.array(y)), (mc.array(x), y), (mc.array(x), 2.0)):
        want = f(x, b if isinstance(b, float) else y)
        got = f(a, b)
        assert isinstance(got, mc.Array)
        np.testing.assert_allclose(np.asarray(got), want, rtol=4e-7)  # a few ulp of float32
    got = f(x, mc.array(y))  # NumPy leaves it to us
    assert isinstance(got, mc.Array)
    np.testing.assert_allclose(np.asarray(got), f(x, y), rtol=4e-7)


def test_dtypes_of_python_values():
    assert mc.array([1, 2]).dtype == "int32"
    assert mc.array([1, 2**40]).dtype == mc.int64
    assert mc.array([1.0]).dtype == np.float32
    assert mc.array(np.array([1.0])).dtype == np.float64
    assert mc.array([True]).dtype == bool
    assert mc.array([1j]).dtype == "complex64"
    assert mc.array([[mc.array(1.0), 2.0]]).tolist() == [[1, 2]]
    assert mc.array(range(3)).tolist() == [0, 1, 2]
    with pytest.raises(OverflowError):
        mc.array([300], "uint8")
    with pytest.raises(ValueError, match="different lengths"):
        mc.array([[1], [1, 2]])
    with pytest.raises(TypeError):
        mc.array("text")


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float16", "float32", "float64", "complex64", "complex128"])
def test_numpy_both_ways(dtype):
    n = np.array([[0, 1, 2], [3, 4, 5]]).astype(dtype)
    a = mc.array(n)
    assert a.dtype.name == dtype
    back = np.asarray(a)
    assert back.dtype == n.dtype
    np.testing.assert_array_equal(back, n)
    np.testing.assert_array_equal(np.asarray(mc.array(n.T)), n.T)
    np.testing.assert_array_equal(np.asarray(mc.array(n[:, ::-1])), n[:, ::-1])
    assert a.tolist() == n.tolist()


def test_big_endian_is_read():
    assert mc.array(np.array([1, 2], ">i4")).tolist() == [1, 2]


def test_zero_copy_by_address():
    a = mc.array(np.arange(1000.0)) * 2
    view = np.asarray(a)
    assert view.ctypes.data == a._host_address()
    assert not view.flags.writeable
    assert np.from_dlpack(a).ctypes.data == a._host_address()
    n = np.arange(1000.0)
    assert mc.from_dlpack(n)._host_address() == n.ctypes.data
    assert mc.asarray(n, copy=False)._host_address() == n.ctypes.data
    own = mc.array([1.0])
    assert mc.asarray(own) is own and mc.asarray(own, copy=True) is not own
    assert mc.asarray(n)._host_address() != n.ctypes.data  # n may be written to: a copy unless asked for
    with pytest.raises(ValueError, match="copy"):
        mc.asarray(n[::2], copy=False)
    writable = a.numpy()
    writable[0] = 5
    assert a[0].item() == 0


def test_memory_outlives_its_maker():
    a = mc.from_dlpack(np.arange(5.0))
    view = np.asarray(mc.array([1.0, 2.0]) + 1)
    assert a.tolist() == [0, 1, 2, 3, 4]
    assert view.tolist() == [2, 3]


def test_bfloat16():
    a = mc.array([1.0, 2.5]).astype("bfloat16")
    assert np.asarray(a).dtype == np.float32
    assert np.asarray(a).tolist() == [1, 2.5]
    assert mc.from_dlpack(a).dtype == mc.bfloat16


def test_pickle_and_copy():
    a = mc.array([[1.5, 2.0]]).astype("bfloat16")
    b = pickle.loads(pickle.dumps(a))
    assert b.dtype == a.dtype and b.shape == a.shape and b.tolist() == a.tolist()
    c = copy.deepcopy(a)
    c[0, 0] = 9
    assert a[0, 0].item() == 1.5
    assert pickle.loads(pickle.dumps(mc.float32)) == mc.float32


def test_text():
    assert repr(mc.array([1, 2])) == "array([1, 2], dtype=int32)"
    assert str(mc.array([1.5])) == "[1.5]"
    assert f"{mc.array(1.25):.1f}" == "1.2"
    seen = []
    mc.compile(lambda x: seen.append(repr(x)) or x)(mc.array([1.0]))
    assert "shape=(1,)" in seen[0]


def test_python_numbers():
    assert float(mc.array(1.5)) == 1.5 and int(mc.array(7)) == 7 and complex(mc.array(1j)) == 1j
    assert bool(mc.array(0)) is False
    assert [10, 20][mc.array(1)] == 20
    assert len(mc.zeros((3, 2))) == 3 and 2 in mc.array([1, 2]) and [int(x) for x in mc.array([4, 5])] == [4, 5]
    for bad in (lambda: float(mc.zeros(2)), lambda: bool(mc.zeros(2))):
        with pytest.raises(ValueError):
            bad()
    with pytest.raises(TypeError):
        len(mc.array(1))


X = np.random.default_rng(7).standard_normal((5, 4)).astype(np.float32)


@pytest.mark.parametrize("name, reference", [("acosh", np.arccosh), ("asinh", np.arcsinh), ("atanh", np.arctanh), ("log10", np.log10),
                                             ("exp2", np.exp2), ("trunc", np.trunc), ("signbit", np.signbit)])  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_composed_functions(name, reference, dtype):
    x = np.array([-np.inf, -1e30, -3.7, -1.0, -0.5, -1e-6, -0.0, 0.0, 1e-6, 0.3, 1.0, 1.0001, 2.5, 40.0, 1e30, np.inf, np.nan], dtype)
    with np.errstate(all="ignore"):
        want = reference(x)
    # Functions of at most three roundings, each of which may be amplified by 2.
    np.testing.assert_allclose(np.asarray(getattr(mc, name)(x)), want, rtol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", ["hypot", "copysign", "nextafter"])
def test_composed_pairs(name):
    v = np.array([-np.inf, -3.0, -0.0, 0.0, 1e-30, 4.0, 1e30, np.inf, np.nan], np.float32)
    x, y = np.meshgrid(v, v)
    np.testing.assert_allclose(np.asarray(getattr(mc, name)(x, y)), getattr(np, name)(x, y), rtol=4e-7)


@pytest.mark.parametrize("got, want", [
    (lambda: mc.linalg.slogdet(X[:4]).logabsdet, lambda: np.linalg.slogdet(X[:4].astype(float)).logabsdet),
    (lambda: mc.linalg.slogdet(X[:4]).sign, lambda: np.linalg.slogdet(X[:4].astype(float)).sign),
    (lambda: mc.linalg.diagonal(X, offset=-1), lambda: np.diagonal(X, -1)),
    (lambda: mc.linalg.matrix_power(X[:4], 3), lambda: np.linalg.matrix_power(X[:4].astype(float), 3)),
    (lambda: mc.linalg.matrix_rank(X), lambda: np.linalg.matrix_rank(X)),
    (lambda: mc.linalg.matrix_norm(X, ord="nuc"), lambda: np.linalg.norm(X.astype(float), "nuc")),
    (lambda: mc.linalg.vector_norm(X, axis=1, ord=3), lambda: np.linalg.norm(X.astype(float), 3, axis=1)),
    (lambda: mc.linalg.cross(X[:, :3], X[:, 1:]), lambda: np.cross(X[:, :3].astype(float), X[:, 1:])),
    (lambda: mc.diff(X, n=2, axis=0), lambda: np.diff(X.astype(float), 2, axis=0)),
    (lambda: mc.roll(X, (1, 2), axis=(0, 1)), lambda: np.roll(X, (1, 2), (0, 1))),
    (lambda: mc.repeat(X, mc.array([1, 0, 2, 1]), axis=1), lambda: np.repeat(X, [1, 0, 2, 1], 1)),
    (lambda: mc.moveaxis(X[None], (0, 1), (2, 0)), lambda: np.moveaxis(X[None], (0, 1), (2, 0))),
    (lambda: mc.argsort(X, axis=0, descending=True), lambda: np.argsort(-X, 0, kind="stable")),
    (lambda: mc.cumulative_sum(X, axis=1, include_initial=True), lambda: np.cumulative_sum(X.astype(float), axis=1, include_initial=True)),
    (lambda: mc.vecdot(X, X), lambda: np.vecdot(X.astype(float), X)),
    (lambda: mc.meshgrid(mc.arange(3), mc.arange(2))[0], lambda: np.meshgrid(np.arange(3), np.arange(2))[0]),
    (lambda: mc.isin(mc.arange(5), mc.array([1, 3])), lambda: np.isin(np.arange(5), [1, 3])),
    (lambda: mc.unique_counts(mc.array([3, 1, 3])).counts, lambda: np.array([1, 2])),
    (lambda: mc.var(X, axis=0, correction=1), lambda: X.astype(float).var(0, ddof=1)),
    (lambda: mc.einsum("ij,kj->ik", X, X), lambda: X.astype(float) @ X.T),
])  # fmt: skip
def test_namespace_against_numpy(got, want):
    g, w = np.asarray(got()), np.asarray(want())
    assert g.shape == w.shape
    np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-5)  # float32 sums of at most 20 terms of size 10 against float64


def test_namespace_info():
    info = mc.__array_namespace_info__()
    assert info.default_dtypes()["real floating"] == mc.float32
    assert mc.array(1).__array_namespace__() is mc
    assert "int8" in info.dtypes(kind="signed integer") and "uint8" not in info.dtypes(kind="signed integer")
    assert mc.Device("numpy") in info.devices() and info.capabilities()["max dimensions"] == mc.zeros([1] * 10).ndim
    assert mc.eye(2, 3, k=2**40).tolist() == [[0, 0, 0], [0, 0, 0]] and (+mc.array([1])).tolist() == [1]
    got = mc.linspace(0, 1, 3, endpoint=False, dtype="float64").numpy()
    np.testing.assert_allclose(got, [0, 1 / 3, 2 / 3], rtol=2.0**-52)  # an ulp
    missing = [n for n in mc._ops.__all__ if not hasattr(mc, n)]
    assert not missing
