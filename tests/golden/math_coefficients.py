"""Prints the polynomial coefficients of src/backends/numpy/simd/math_coef.h.

Each is a minimax fit by Remez exchange in 60-digit arithmetic (mpmath), with the weight that makes the error relative to
the function's result. Coefficients are listed from the lowest power to the highest and rounded to the target type.
Usage: python math_coefficients.py > ../../src/backends/numpy/simd/math_coef.h
"""
import sys

import mpmath as mp

mp.mp.dps = 60


def remez(f, a, b, degree, weight=lambda x: mp.mpf(1), iterations=12, grid=None):
    """Coefficients c and the error max |w(x)(f(x) - sum c_i x^i)| on [a, b]."""
    a, b = mp.mpf(a), mp.mpf(b)
    n = degree + 2
    grid = grid or 16 * n
    xs = [(a + b) / 2 - (b - a) / 2 * mp.cos(mp.pi * (i + mp.mpf(1) / 2) / n) for i in range(n)]
    pts = [(a + b) / 2 - (b - a) / 2 * mp.cos(mp.pi * i / grid) for i in range(grid + 1)]
    fp = [f(x) for x in pts]
    wp = [weight(x) for x in pts]
    best = None
    for _ in range(iterations):
        m = mp.matrix(n, n)
        r = mp.matrix(n, 1)
        for i, x in enumerate(xs):
            p = mp.mpf(1)
            for j in range(degree + 1):
                m[i, j] = p
                p *= x
            m[i, degree + 1] = (-1) ** i / weight(x)
            r[i] = f(x)
        sol = mp.lu_solve(m, r)
        c = [sol[j] for j in range(degree + 1)]
        err = [wp[i] * (fp[i] - mp.polyval(c[::-1], pts[i])) for i in range(grid + 1)]
        worst = max(abs(e) for e in err)
        if best is None or worst < best[1]:
            best = (c, worst)
        # The extremum of each run of equal sign.
        ext, cur = [], 0
        for i in range(1, grid + 1):
            if (err[i] > 0) != (err[cur] > 0):
                ext.append(cur)
                cur = i
            elif abs(err[i]) > abs(err[cur]):
                cur = i
        ext.append(cur)
        while len(ext) > n:
            ext.pop(0 if abs(err[ext[0]]) < abs(err[ext[-1]]) else -1)
        if len(ext) < n:
            break
        xs = [pts[i] for i in ext]
        if worst / abs(sol[degree + 1]) < mp.mpf("1.0001"):
            break
    return best


def emit(name, ctype, c, err):
    print(f"// relative error 2^{float(mp.log(err, 2)):.1f}")
    if ctype == "float":
        import numpy as np

        body = ", ".join(float(np.float32(float(x))).hex() + "f" for x in c)
    else:
        body = ", ".join(float(x).hex() for x in c)
    print(f"inline constexpr {ctype} {name}[] = {{{body}}};")


def fit(name, ctype, f, a, b, degree, weight=lambda x: mp.mpf(1)):
    sys.stderr.write(name + "\n")
    c, err = remez(f, a, b, degree, weight)
    emit(name, ctype, c, err)


def series(f, z, terms=40):
    """f near 0 by its Taylor series (avoids cancellation)."""
    return mp.polyval(mp.taylor(f, 0, terms)[::-1], z)


def even_ratio(f, power):
    """z -> (f(x) - leading terms)/x^power at x = sqrt(z), where f takes x at high precision."""
    return lambda z: f(mp.sqrt(z))


tiny = mp.mpf(10) ** -12
print("""// Made by tests/golden/math_coefficients.py: minimax coefficients from the lowest power to the highest.
#pragma once

namespace mc::simd::coef {
""")
L = mp.log(2) / 2 * mp.mpf("1.0001")


def expm1_rest(r):  # (e^r - 1 - r)/r^2
    return mp.mpf(1) / 2 + r / 6 + r * r / 24 if abs(r) < tiny else (mp.expm1(r) - r) / r**2


fit("kExpF", "float", expm1_rest, -L, L, 4, lambda r: r * r if abs(r) > mp.mpf("1e-3") else mp.mpf("1e-6"))
fit("kExpD", "double", expm1_rest, -L, L, 10, lambda r: abs(r) if abs(r) > mp.mpf("1e-3") else mp.mpf("1e-3"))

fl, fh = mp.sqrt(mp.mpf(1) / 2) - 1, mp.sqrt(mp.mpf(2)) - 1


def log1p_rest(f):  # (log1p(f) - f + f^2/2)/f^3
    return mp.mpf(1) / 3 - f / 4 + f * f / 5 if abs(f) < tiny else (mp.log1p(f) - f + f * f / 2) / f**3


fit("kLogF", "float", log1p_rest, fl, fh, 8, lambda f: f * f if abs(f) > mp.mpf("1e-3") else mp.mpf("1e-6"))
# log(m) = 2 atanh(s), s = (m-1)/(m+1): 2s + s z P(z), z = s^2
s2 = (fh / (fh + 2)) ** 2 * mp.mpf("1.001")


def atanh_rest(z):
    if z < mp.mpf("1e-20"):
        return mp.mpf(2) / 3 + 2 * z / 5
    s = mp.sqrt(z)
    return (2 * mp.atanh(s) - 2 * s) / (s * z)


fit("kLogD", "double", atanh_rest, 0, s2, 7, lambda z: mp.sqrt(z) if z > mp.mpf("1e-5") else mp.mpf("0.003"))

P4 = (mp.pi / 4 * mp.mpf("1.001")) ** 2


def sin_rest(z):  # (sin x - x)/x^3
    if z < mp.mpf("1e-20"):
        return -mp.mpf(1) / 6 + z / 120
    x = mp.sqrt(z)
    return (mp.sin(x) - x) / (x * z)


def cos_rest(z):  # (cos x - 1 + x^2/2)/x^4
    if z < mp.mpf("1e-18"):
        return mp.mpf(1) / 24 - z / 720
    return (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2


def zw(z):
    return z if z > mp.mpf("1e-3") else mp.mpf("1e-3")



fit("kSinF", "float", sin_rest, 0, P4, 3, zw)
fit("kCosF", "float", cos_rest, 0, P4, 3, lambda z: zw(z) ** 2)
fit("kSinD", "double", sin_rest, 0, P4, 6, zw)
fit("kCosD", "double", cos_rest, 0, P4, 6, lambda z: zw(z) ** 2)


def tanh_rest(z):  # (tanh x - x)/x^3
    if z < mp.mpf("1e-20"):
        return -mp.mpf(1) / 3 + 2 * z / 15
    x = mp.sqrt(z)
    return (mp.tanh(x) - x) / (x * z)


fit("kTanhF", "float", tanh_rest, 0, mp.mpf("0.625") ** 2, 5, zw)


def erf_over_x(z):  # erf(x)/x - 1
    if z < mp.mpf("1e-20"):
        return 2 / mp.sqrt(mp.pi) * (1 - z / 3) - 1
    x = mp.sqrt(z)
    return mp.erf(x) / x - 1


fit("kErfF", "float", erf_over_x, 0, 1, 6, lambda z: 1 / (1 + erf_over_x(z)))
# log(erfc(x)) on [1, 4.1]; only the absolute error times erfc matters
fit("kLogErfcF", "float", lambda x: mp.log(mp.erfc(x)), mp.mpf("0.98"), mp.mpf("4.1"), 8, lambda x: mp.erfc(x) + mp.mpf("1e-6"))


def erfcx(x):
    return mp.exp(x * x) * mp.erfc(x)


# erfcx(t/sqrt 2)/2·(t+K) over w = (t-K)/(t+K), t in [0, 14.6]
K = mp.mpf("2.5")


def half_erfcx(w):
    t = K * (1 + w) / (1 - w)
    return erfcx(t / mp.sqrt(2)) / 2 * (t + K)


fit("kPhiTailF", "float", half_erfcx, -1, (mp.mpf("14.6") - K) / (mp.mpf("14.6") + K), 11, lambda w: 1 / half_erfcx(w))


def phi_over_x(z):  # (Phi(x) - 1/2)/x
    if z < mp.mpf("1e-20"):
        return (1 - z / 6) / mp.sqrt(2 * mp.pi)
    x = mp.sqrt(z)
    return mp.erf(x / mp.sqrt(2)) / 2 / x


fit("kPhiF", "float", phi_over_x, 0, mp.mpf("1.01"), 5, lambda z: 1 / phi_over_x(z))


# ---- float64 ----
def asin_rest(z):  # (asin x - x)/x^3
    if z < mp.mpf("1e-20"):
        return mp.mpf(1) / 6 + 3 * z / 40
    x = mp.sqrt(z)
    return (mp.asin(x) - x) / (x * z)


fit("kAsinD", "double", asin_rest, 0, mp.mpf("0.2501"), 12, zw)


def atan_rest(z):  # (atan x - x)/x^3
    if z < mp.mpf("1e-20"):
        return -mp.mpf(1) / 3 + z / 5
    x = mp.sqrt(z)
    return (mp.atan(x) - x) / (x * z)


fit("kAtanD", "double", atan_rest, 0, (mp.sqrt(2) - 1) ** 2 * mp.mpf("1.001"), 11, zw)
fit("kErfD", "double", erf_over_x, 0, 1, 13, lambda z: 1 / (1 + erf_over_x(z)))
# The logarithm for pow: (2 atanh(s) - 2s - 2/3 s^3)/s^5
fit("kLogTailD", "double", lambda z: mp.mpf(2) / 5 + 2 * z / 7 if z < mp.mpf("1e-12") else (atanh_rest(z) - mp.mpf(2) / 3) / z,
    0, s2, 7, zw)
# erfcx(x)·(x+K) over w = (x-K)/(x+K), x in [0.7, 28]
KD = mp.mpf(4)


def erfcx_scaled(w):
    x = KD * (1 + w) / (1 - w)
    return erfcx(x) * (x + KD)


fit("kErfcxD", "double", erfcx_scaled, (mp.mpf("0.65") - KD) / (mp.mpf("0.65") + KD), (mp.mpf(28) - KD) / (mp.mpf(28) + KD), 22,
    lambda w: 1 / erfcx_scaled(w))


# erfinv(x)/x in w = -log(1 - x^2): over w - 3 for w <= 6, over sqrt(w) - 3.2 and - 5 beyond
def erfinv_w(w):
    if w < mp.mpf("1e-15"):
        return mp.sqrt(mp.pi) / 2
    x = mp.sqrt(-mp.expm1(-w))
    with mp.workdps(80):
        y = mp.sqrt(w) * mp.mpf("0.9") if w > 1 else x * mp.mpf("0.9")
        for _ in range(60):  # Newton on log(erfc), which is gentle in the tail
            ec = mp.erfc(y)
            target = -mp.expm1(-w)
            comp = mp.exp(-w) / (1 + mp.sqrt(target))  # 1 - x
            step = mp.log(ec / comp) * ec * mp.sqrt(mp.pi) / 2 * mp.exp(y * y)
            y += step
            if abs(step) < mp.mpf(10) ** -62:
                break
        return y / x


fit("kErfinvLowD", "double", lambda u: erfinv_w(u + 3), -3, mp.mpf("3.01"), 25, lambda u: 1 / erfinv_w(u + 3))
fit("kErfinvMidD", "double", lambda u: erfinv_w((u + mp.mpf("3.2")) ** 2), mp.mpf("2.44") - mp.mpf("3.2"),
    mp.mpf("4.01") - mp.mpf("3.2"), 21, lambda u: 1 / erfinv_w((u + mp.mpf("3.2")) ** 2))
fit("kErfinvHighD", "double", lambda u: erfinv_w((u + 5) ** 2), mp.mpf("-1.01"), mp.mpf("1.02"), 19,
    lambda u: 1 / erfinv_w((u + 5) ** 2))
mp.mp.dps = 420
bits = int(mp.floor(2 / mp.pi * mp.mpf(2) ** 1280))
words = [0] + [(bits >> (64 * (19 - i))) & (2**64 - 1) for i in range(20)]
print("// 2/pi: 64 zero bits, then its 1280 leading fraction bits, most significant word first")
print("inline constexpr unsigned long long kTwoOverPi[] = {" + ", ".join(f"0x{w:016x}" for w in words) + "};")
print("\n}  // namespace mc::simd::coef")
