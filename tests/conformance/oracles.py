"""Names that the oracle expressions of the table of primitives use, beside np and sp (scipy.special)."""

import numpy as np
import scipy.special as sp

NAMES = {"np": np, "sp": sp}


def oracle(f):
    NAMES[f.__name__] = f
    return f


class Property:
    """What a result must satisfy where it is not unique: check(outputs, eps) says what is wrong, or None."""

    def __init__(self, check):
        self.check = check


@oracle
def wide(x):
    """80-bit floats for sums of float64, which NumPy adds up along an axis in float64, one after another."""
    return x.astype({"f": np.longdouble, "c": np.clongdouble}.get(x.dtype.kind, x.dtype))


@oracle
def log1p(x):
    """NumPy's own of complex numbers takes the logarithm of |1 + x|, which loses digits near 1."""
    if x.dtype.kind != "c":
        return np.log1p(x)
    re, im = x.real.astype(np.longdouble), x.imag.astype(np.longdouble)
    return (np.log1p(re * (re + 2) + im * im) / 2 + 1j * np.arctan2(im, re + 1)).astype(np.complex128)


@oracle
def floor_divide(x, y):
    """The array API standard's: of infinities that of the division, where NumPy follows Python."""
    if x.dtype.kind != "f":
        return np.floor_divide(x, y)
    return np.where(np.isinf(x) | np.isinf(y), x / y, np.floor_divide(x, y))


# ---- dtypes

LIMITS = {np.dtype(t): np.iinfo(t) for t in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8")}


@oracle
def cast(x, dtype):
    """Float to integer truncates and saturates, NaN gives 0; integers wrap; to bool: x != 0; complex loses its
    imaginary part."""
    if dtype == "bool":
        return x != 0
    if x.dtype.kind == "c" and not dtype.startswith("complex"):
        x = x.real
    if dtype in ("bfloat16",):
        return x.astype(np.float64)  # rounded by the caller
    if x.dtype.kind == "f" and np.dtype(dtype).kind in "iu":
        info = LIMITS[np.dtype(dtype)]
        whole = np.trunc(np.nan_to_num(x, nan=0.0, posinf=1e300, neginf=-1e300))
        return np.array([min(max(int(v), info.min), info.max) for v in whole.ravel()], dtype).reshape(x.shape)
    return x.astype(dtype)


# ---- slices and indices: negative indices count from the end; reads outside give NaN (integers: the lowest value),
# writes outside are dropped


@oracle
def clamp(i, lo, hi):
    return int(min(max(int(i), lo), hi))


@oracle
def put(a, where, values):
    out = a.copy()
    out[where] = values
    return out


def outside(dtype):
    if dtype.kind in "fc":
        return np.nan
    return False if dtype.kind == "b" else np.iinfo(dtype).min


def wrapped(i, n):
    """The index from 0, or None outside."""
    i = int(i)
    i = i + n if i < 0 else i
    return i if 0 <= i < n else None


@oracle
def gather0(a, index):
    out = np.full(index.shape + (1,) + a.shape[1:], outside(a.dtype), a.dtype)
    for at in np.ndindex(index.shape):
        i = wrapped(index[at], a.shape[0])
        if i is not None:
            out[at] = a[i : i + 1]
    return out


@oracle
def scatter0(a, index, updates, f):
    out = a.copy()
    for i, u in zip(index, updates):
        i = wrapped(i, a.shape[0])
        if i is not None:
            out[i] = u if f is None else f(out[i], u)
    return out


@oracle
def take_along(a, index, axis):
    out = np.full(index.shape, outside(a.dtype), a.dtype)
    for at in np.ndindex(index.shape):
        i = wrapped(index[at], a.shape[axis])
        if i is not None:
            out[at] = a[at[:axis] + (i,) + at[axis + 1 :]]
    return out


@oracle
def add_along(a, index, updates, axis):
    out = a.copy()
    for at in np.ndindex(index.shape):
        i = wrapped(index[at], a.shape[axis])
        if i is not None:
            out[at[:axis] + (i,) + at[axis + 1 :]] += updates[at]
    return out


@oracle
def update_rows(a, update, starts, axis):
    out = a.copy()
    for b, start in enumerate(starts):
        n = update.shape[axis]
        if 0 <= start and start + n <= a.shape[axis]:
            where = [slice(None)] * (a.ndim - 1)
            where[axis - 1] = slice(int(start), int(start) + n)
            out[b][tuple(where)] = update[b]
    return out


# ---- fused operations


@oracle
def rope(x, positions, dims, traditional, base, scale):
    half = dims // 2
    freq = base ** (-2.0 * np.arange(half) / dims)
    angle = (positions * scale)[..., None] * freq
    if positions.ndim == 2:
        angle = angle[:, None]
    c, s = np.cos(angle), np.sin(angle)
    out = x.copy()
    if traditional:
        a, b = x[..., 0:dims:2], x[..., 1:dims:2]
        out[..., 0:dims:2], out[..., 1:dims:2] = a * c - b * s, a * s + b * c
    else:
        a, b = x[..., :half], x[..., half:dims]
        out[..., :half], out[..., half:dims] = a * c - b * s, a * s + b * c
    return out


@oracle
def attention(q, k, v, scale=0, causal=False, window=0, softcap=0, mask=None, start=None, length=None):
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
    scores = q @ k.swapaxes(-1, -2) * (scale or q.shape[-1] ** -0.5)
    if softcap:
        scores = np.tanh(scores / softcap) * softcap
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    t, s = scores.shape[-2:]
    key = np.arange(s)
    if causal:
        at = (np.full(q.shape[0], s - t) if start is None else start)[:, None, None, None] + np.arange(t)[:, None]
        seen = key <= at
        if window:
            seen &= key > at - window
        scores = np.where(seen, scores, -np.inf)
    if length is not None:
        scores = np.where(key < length[:, None, None, None], scores, -np.inf)
    top = scores.max(-1, keepdims=True)
    p = np.exp(scores - np.where(np.isfinite(top), top, 0))
    total = p.sum(-1, keepdims=True)
    return p / np.where(total > 0, total, 1) @ v  # a row that sees no key gives zeros


# ---- quantized weights


def unpack(words, bits):
    """Codes of `bits` bits, little-endian over the words of a row."""
    raw = np.unpackbits(words.astype("<u4").view(np.uint8), axis=-1, bitorder="little")
    codes = raw.reshape(*words.shape[:-1], -1, bits)
    return codes @ (1 << np.arange(bits))


@oracle
def affine_dequantize(words, scales, biases, bits, group):
    q = unpack(np.ascontiguousarray(words), bits)
    return q * np.repeat(scales, group, -1) + np.repeat(biases, group, -1)


@oracle
def affine_quantize(w, bits, group):
    """A Property: each code is the nearest of its group's grid, the grid spans the group and holds its larger end."""

    def check(outputs, eps):
        words, scales, biases = (np.ascontiguousarray(o) for o in outputs)
        s, b = scales.astype(np.float64), biases.astype(np.float64)
        q = unpack(words, bits).reshape(*s.shape, group)
        x = w.reshape(*s.shape, group)
        top = 2**bits - 1
        lo, hi = x.min(-1), x.max(-1)
        step = np.maximum((hi - lo) / top, 1e-7)
        # The step is that of the range, moved so that the larger end falls on the grid.
        if np.any(np.abs(s) > step * 2.0) or np.any(np.abs(s) < step * 0.6):
            return f"a scale is far from (max - min)/{top}"
        edge = np.where(np.abs(lo) > np.abs(hi), lo, hi)
        grid = s[..., None] * np.arange(top + 1) + b[..., None]
        if np.any(np.abs(grid - edge[..., None]).min(-1) > (0.5 * np.abs(s) * 1e-3 + 64 * eps * np.abs(edge))):
            return "the larger end of a group is not on its grid"
        nearest = np.abs(grid[..., None, :] - x[..., None]).min(-1)
        error = np.abs(q * s[..., None] + b[..., None] - x)
        # The grid moves when scale and bias are rounded to the dtype.
        if np.any(error > nearest + 2 * eps * (top * np.abs(s) + np.abs(b))[..., None]):
            return "a code is not the nearest of its grid"
        return None

    return Property(check)


@oracle
def blocks(data, name):
    """GGUF blocks by the `gguf` package, in the float32 that it computes."""
    from gguf import GGMLQuantizationType, quants

    kind = GGMLQuantizationType[name]
    raw = np.ascontiguousarray(data)
    with np.errstate(all="ignore"):
        return quants.dequantize(raw, kind).astype(np.float64)


SMOOTH = [False]


def smooth(on):
    """While conditions are measured: steps that a perturbation would not see are left out."""
    SMOOTH[0] = on


@oracle
def int8_blocks(x):
    """The activations of precision `fast` (docs/contract-fast.md), as what they stand for."""
    if SMOOTH[0]:
        return x
    f = np.float32
    v = x.astype(f).reshape(*x.shape[:-1], -1, 32)
    amax = np.abs(v).max(-1, keepdims=True)
    scale = np.where(amax < f(2.0**-119), f(0), amax / f(127)).astype(f)
    inverse = np.where(scale > 0, f(1) / np.where(scale > 0, scale, f(1)), f(0)).astype(f)
    codes = np.rint(v * inverse)
    return (codes.astype(np.float64) * scale.astype(np.float64)).reshape(x.shape)


# ---- random


@oracle
def philox(keys, shape):
    """Philox4x32-10 (Salmon et al. 2011) with counters 0, 1, …"""
    n = int(np.prod(shape, dtype=np.int64))
    mask = np.uint64(0xFFFFFFFF)
    out = []
    for key in keys.reshape(-1, 2):
        counter = [np.arange((n + 3) // 4, dtype=np.uint64)] + [np.zeros((n + 3) // 4, np.uint64) for _ in range(3)]
        k0, k1 = np.uint64(key[0]), np.uint64(key[1])
        for _ in range(10):
            p0, p1 = np.uint64(0xD2511F53) * counter[0], np.uint64(0xCD9E8D57) * counter[2]
            counter = [(p1 >> np.uint64(32)) ^ counter[1] ^ k0, p1 & mask, (p0 >> np.uint64(32)) ^ counter[3] ^ k1, p0 & mask]
            k0, k1 = (k0 + np.uint64(0x9E3779B9)) & mask, (k1 + np.uint64(0xBB67AE85)) & mask
        out.append(np.stack(counter, 1).ravel()[:n])
    return np.array(out, np.uint32).reshape(keys.shape[:-1] + tuple(shape))


# ---- decompositions: products and orthogonality, in units of eps·n·norm


def transposed(a):
    return a.swapaxes(-1, -2).conj()


def exact(a):
    return a.astype(np.complex128 if a.dtype.kind == "c" else np.float64)


def far(got, want, eps, scale):
    bound = 32 * eps * max(1, got.shape[-1]) * scale
    worst = np.max(np.abs(got - want), initial=0.0)
    return None if worst <= bound else f"{worst} is more than {bound}"


def first(*findings):
    for name, finding in findings:
        if finding:
            return f"{name}: {finding}"
    return None


@oracle
def svd(a):
    def check(outputs, eps):
        u, s, vt = (exact(o) for o in outputs)
        norm = np.abs(a).sum(-1).max()
        eye = np.eye(s.shape[-1])
        return first(
            ("u·s·vt", far(u * s[..., None, :] @ vt, a, eps, norm)),
            ("uᵀ·u", far(transposed(u) @ u, eye, eps, 1)),
            ("vt·v", far(vt @ transposed(vt), eye, eps, 1)),
            ("singular values", far(s, np.linalg.svd(a, compute_uv=False), eps, norm)),
        )

    return Property(check)


@oracle
def eigh(a):
    def check(outputs, eps):
        w, v = (exact(o) for o in outputs)
        norm = np.abs(a).sum(-1).max()
        return first(
            ("v·w·vᵀ", far(v * w[..., None, :] @ transposed(v), a, eps, norm)),
            ("vᵀ·v", far(transposed(v) @ v, np.eye(w.shape[-1]), eps, 1)),
            ("eigenvalues", far(w, np.linalg.eigvalsh(a), eps, norm)),
        )

    return Property(check)


@oracle
def eig(a):
    def check(outputs, eps):
        w, v = (exact(o) for o in outputs)
        norm = np.abs(a).sum(-1).max(initial=0.0)
        return first(
            ("a·v", far(a @ v, v * w[..., None, :], eps, norm)),
            ("lengths of v", far(np.linalg.norm(v, axis=-2), np.ones(w.shape), eps, 1)),
            ("sum of the eigenvalues", far(w.sum(-1, keepdims=True), np.trace(a, axis1=-2, axis2=-1)[..., None], eps, norm)),
        )

    return Property(check)


@oracle
def qr(a):
    def check(outputs, eps):
        q, r = (exact(o) for o in outputs)
        norm = np.abs(a).sum(-1).max()
        diagonal = np.diagonal(r, axis1=-2, axis2=-1)
        return first(
            ("q·r", far(q @ r, a, eps, norm)),
            ("qᵀ·q", far(transposed(q) @ q, np.eye(q.shape[-1]), eps, 1)),
            ("below the diagonal of r", far(np.tril(r[..., : r.shape[-2]], -1), 0 * r[..., : r.shape[-2]], eps, 0)),
            ("diagonal of r", "it is negative" if np.any((diagonal.real < 0) | (diagonal.imag != 0)) else None),
        )

    return Property(check)
