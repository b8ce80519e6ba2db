"""Complex functions against cmath, which knows Annex G; Fourier transforms and decompositions against NumPy."""
import cmath
import math

import numpy as np
import pytest

import modelcypher as mc

PARTS = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, math.inf, -math.inf, math.nan, 1e300, -1e300, 1e-160, 700.5, -720.0, 1 + 2**-52, 1 - 2**-53]
NAMES = ["exp", "log", "log10", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan", "asinh", "acosh", "atanh"]


def close(got, want, relative=4e-15):
    if want != want or got != got:
        return got != got and want != want
    if math.isinf(want) or math.isinf(got):
        return got == want
    # Parts below the normal range lose digits where they are made with a factor.
    return abs(got - want) <= relative * abs(want) + 1e-307 and (got == want == 0 or math.copysign(1, got) == math.copysign(1, want))


# The C standard leaves these signs and values open, and the array API standard settles some of them.
OPEN = {
    "sin": lambda z: z.real != z.real or (math.isnan(z.real) and True), "asin": lambda z: z.imag != z.imag,
    "sinh": lambda z: z.imag != z.imag, "atan": lambda z: z.imag != z.imag, "tan": lambda z: z.real != z.real or math.isinf(z.real),
    "tanh": lambda z: z.real == 0 and not math.isfinite(z.imag), "acosh": lambda z: z.real == 0 and z.imag != z.imag,
}


@pytest.mark.parametrize("name", NAMES)
def test_special_values(name):
    z = [complex(a, b) for a in PARTS for b in PARTS]
    got = np.asarray(getattr(mc, name)(mc.array(np.array(z))))
    seen = 0
    for x, g in zip(z, got):
        try:
            want = getattr(cmath, name)(x)
        except (ValueError, OverflowError):  # Python raises at poles and where parts overflow
            continue
        if name in OPEN and OPEN[name](x):
            continue
        seen += 1
        assert close(g.real, want.real) and close(g.imag, want.imag), (x, complex(g), want)
    assert seen > 120


def test_special_values_of_the_standard():
    z = np.array([complex(0, math.inf), complex(0, math.nan), complex(math.inf, math.inf), complex(math.nan, 0)])
    t, e = np.asarray(mc.tanh(mc.array(z))), np.asarray(mc.expm1(mc.array(z)))
    assert t[0].real == 0 and np.isnan(t[0].imag) and t[1].real == 0 and t[2] == 1 and np.isnan(t[3].real) and t[3].imag == 0
    assert np.isinf(e[2].real) and np.isnan(e[2].imag) and e[3].imag == 0
    low = np.asarray(mc.expm1(mc.array(np.array([complex(-math.inf, math.inf)]))))
    assert low[0] == -1
    assert np.asarray(mc.log1p(mc.array(np.array([-1 + 0j]))))[0].real == -math.inf
    assert np.asarray(mc.sign(mc.array(np.array([3 - 4j, 0j, 1e308 + 1e308j])))) == pytest.approx([0.6 - 0.8j, 0, (1 + 1j) / math.sqrt(2)])


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_random_values(dtype):
    rng = np.random.default_rng(0)
    z = ((rng.standard_normal(500) + 1j * rng.standard_normal(500)) * 10.0 ** rng.integers(-4, 2, 500)).astype(dtype)
    eps = np.finfo(dtype).eps
    for name in NAMES:
        want = np.array([getattr(cmath, name)(complex(v)) for v in z])
        got = np.asarray(getattr(mc, name)(mc.array(z)))
        assert got.dtype == dtype
        assert np.max(np.abs(got - want) / np.abs(want)) < 8 * eps, name


def test_floor_divide_of_infinities():
    inf = math.inf
    a, b = np.array([inf, inf, -inf, 1.0, -1.0, inf, 7.0, -7.0]), np.array([2.0, -2.0, 2.0, -inf, inf, inf, 2.0, 2.0])
    got = np.asarray(mc.array(a) // mc.array(b))
    np.testing.assert_array_equal(got, [inf, -inf, -inf, -0.0, -0.0, math.nan, 3.0, -4.0])
    assert np.signbit(got[3]) and np.signbit(got[4])


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 30, 49, 67, 101, 128, 509, 1000])
@pytest.mark.parametrize("wide", [False, True])
def test_fft_along_an_axis(n, wide):
    rng = np.random.default_rng(n)
    z = (rng.standard_normal((2, n)) + 1j * rng.standard_normal((2, n))).astype("complex128" if wide else "complex64")
    bound = (2e-15 if wide else 1e-6) * (2 + math.log2(n))

    def same(got, want):
        got = np.asarray(got)
        assert got.shape == want.shape and got.dtype.itemsize in ((8, 16) if wide else (4, 8))
        assert np.abs(got - want).max() <= bound * np.abs(want).max()

    w = z.astype("complex128")
    for norm in ("backward", "ortho", "forward"):
        same(mc.fft.fft(mc.array(z), norm=norm), np.fft.fft(w, norm=norm))
        same(mc.fft.ifft(mc.array(z), norm=norm), np.fft.ifft(w, norm=norm))
        same(mc.fft.rfft(mc.array(z.real), norm=norm), np.fft.rfft(w.real, norm=norm))
        same(mc.fft.ihfft(mc.array(z.real), norm=norm), np.fft.ihfft(w.real, norm=norm))
        same(mc.fft.irfft(mc.array(z), n=n, norm=norm), np.fft.irfft(w, n=n, norm=norm))
        same(mc.fft.hfft(mc.array(z), n=n, norm=norm), np.fft.hfft(w, n=n, norm=norm))
    same(mc.fft.fft(mc.array(z), n=n + 3, axis=0), np.fft.fft(w, n=n + 3, axis=0))


def test_fft_of_several_axes_and_helpers():
    x = np.random.default_rng(0).standard_normal((3, 4, 6))
    for name in ("fftn", "ifftn", "rfftn", "irfftn"):
        f, g = getattr(mc.fft, name), getattr(np.fft, name)
        for args in ({}, {"axes": [0, 2]}, {"s": [5, 4], "axes": [0, 1]}):
            np.testing.assert_allclose(np.asarray(f(mc.array(x), **args)), g(x, **args), atol=1e-12)
    np.testing.assert_allclose(np.asarray(mc.fft.fftfreq(7, d=0.5)), np.fft.fftfreq(7, 0.5), rtol=1e-6)
    np.testing.assert_allclose(np.asarray(mc.fft.rfftfreq(8)), np.fft.rfftfreq(8), rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(mc.fft.fftshift(mc.array(x), axes=[1])), np.fft.fftshift(x, [1]))
    np.testing.assert_array_equal(np.asarray(mc.fft.ifftshift(mc.array(x))), np.fft.ifftshift(x))
    with pytest.raises(ValueError):
        mc.fft.fft(mc.array(x), n=0)
    with pytest.raises(ValueError):
        mc.fft.fft(mc.array(x), norm="none")
    with pytest.raises(TypeError):
        mc.fft.rfft(mc.array(x + 0j))


def test_fft_gradient_and_batching():
    x = mc.array(np.random.default_rng(1).standard_normal((3, 10)))
    back = mc.grad(lambda v: mc.sum(mc.abs(mc.fft.rfft(v)) ** 2))(x)
    terms = np.fft.rfft(np.asarray(x))
    twice = np.fft.irfft(terms * np.r_[2, np.ones(4), 2], 10) * 10  # each middle term stands once here
    np.testing.assert_allclose(np.asarray(back), twice, atol=1e-10)
    rows = mc.vmap(lambda v: mc.fft.fft(v))(x)
    np.testing.assert_allclose(np.asarray(rows), np.fft.fft(np.asarray(x)), atol=1e-12)
    np.testing.assert_array_equal(np.asarray(mc.compile(mc.fft.fft)(x)), np.asarray(mc.fft.fft(x)))


def test_complex_decompositions():
    rng = np.random.default_rng(2)
    a = rng.standard_normal((2, 5, 3)) + 1j * rng.standard_normal((2, 5, 3))
    u, s, vh = map(np.asarray, mc.linalg.svd(mc.array(a)))
    assert u.shape == (2, 5, 5) and vh.shape == (2, 3, 3) and s.dtype == "float64"
    np.testing.assert_allclose(u[..., :3] * s[:, None, :] @ vh, a, atol=1e-13)
    np.testing.assert_allclose(u.conj().swapaxes(-1, -2) @ u, np.broadcast_to(np.eye(5), (2, 5, 5)), atol=1e-13)
    q, r = map(np.asarray, mc.linalg.qr(mc.array(a), mode="complete"))
    assert q.shape == (2, 5, 5) and r.shape == (2, 5, 3)
    np.testing.assert_allclose(q @ r, a, atol=1e-13)
    h = a.conj().swapaxes(-1, -2) @ a + 3 * np.eye(3)
    w, v = map(np.asarray, mc.linalg.eigh(mc.array(h)))
    np.testing.assert_allclose(h @ v, v * w[:, None, :], atol=1e-12)
    up = np.asarray(mc.linalg.cholesky(mc.array(h), upper=True))
    np.testing.assert_allclose(up.conj().swapaxes(-1, -2) @ up, h, atol=1e-12)
    np.testing.assert_allclose(np.asarray(mc.linalg.pinv(mc.array(a))), np.linalg.pinv(a), atol=1e-12)
    sign, logs = map(np.asarray, mc.linalg.slogdet(mc.array(a[:, :3])))
    np.testing.assert_allclose(sign * np.exp(logs), np.linalg.det(a[:, :3]), atol=1e-12)
    w, v = map(np.asarray, mc.linalg.eig(mc.array(a[:, :3].real)))
    np.testing.assert_allclose(a[:, :3].real @ v, v * w[:, None, :], atol=1e-12)
    with pytest.raises(mc.errors.Error, match="phase"):
        mc.grad(lambda m: mc.sum(mc.linalg.svdvals(m)))(mc.array(a))
