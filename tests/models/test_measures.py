"""The measures of `mc probe` against NumPy and SciPy in float64, and the numbers that a correct tool gives."""

from __future__ import annotations

import json
import xml.dom.minidom
import zipfile

import numpy as np
import pytest
from conftest import error_of, model_path
from scipy.linalg import orthogonal_procrustes
from scipy.sparse.csgraph import connected_components, shortest_path
from scipy.spatial.distance import cdist, pdist, squareform
from test_capture import prompts, write_data


def save(path, array):
    np.save(path, array)
    return path


def measure(mc, what, *arguments, **options):
    return mc("probe", what, *arguments, "--output", "json", **options).json()


# ---- CKA ----


def centred(k, debiased):
    n = len(k)
    if not debiased:
        h = np.eye(n) - 1 / n
        return h @ k @ h
    k = k - np.diag(np.diag(k))
    r = k.sum(0) / (n - 2)
    a = k - r[:, None] - r[None, :] + k.sum() / ((n - 1) * (n - 2))
    return a - np.diag(np.diag(a))


def gram(x, kernel):
    x = x.astype(np.float64)
    if kernel == "linear":
        return x @ x.T
    d = pdist(x, "sqeuclidean")
    return np.exp(-squareform(d) / (2 * np.median(d)))


def reference_cka(matrices, kernel, debiased):
    grams = [centred(gram(x, kernel), debiased).ravel() for x in matrices]
    h = np.array([[a @ b for b in grams] for a in grams])
    return h / np.sqrt(np.outer(np.diag(h), np.diag(h)))


@pytest.mark.parametrize("estimator", ["debiased", "biased"])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_cka_is_the_reference(mc, tmp_path, kernel, estimator):
    rng = np.random.default_rng(3)
    base = rng.normal(size=(301, 24))
    wide = (base @ rng.normal(size=(24, 70)) + 0.5 * rng.normal(size=(301, 70))).astype(np.float32)
    matrices = [wide, (np.tanh(wide[:, :40]) * 1e3 + 7e3).astype(np.float32), rng.normal(size=(301, 33)).astype(np.float32)]
    np.savez(tmp_path / "all.npz", a=matrices[0], b=matrices[1], c=matrices[2])
    told = measure(mc, "cka", tmp_path / "all.npz", "--kernel", kernel, "--estimator", estimator)
    assert told["rows"] == ["a", "b", "c"]
    ours, want = np.array(told["values"]), reference_cka(matrices, kernel, estimator == "debiased")
    print(np.abs(ours - want).max())
    # An odd number of pairs has one median; of an even number ours is the upper of the two.
    assert np.abs(ours - want).max() < (2e-5 if kernel == "linear" else 2e-4)


def test_cka_of_unrelated_samples(mc, tmp_path):
    """Independent N(5, 1), 200 × 64: debiased near 0, biased near a quarter, uncentred near 1 (which we do not offer)."""
    rng = np.random.default_rng(0)
    x, y = (save(tmp_path / f"{n}.npy", rng.normal(5, 1, (200, 64)).astype(np.float32)) for n in "xy")
    told = measure(mc, "cka", x, "--against", y, "--permutations", 300)
    assert abs(told["values"][0][0]) < 0.03
    assert told["null"]["p_values"][0][0] > 0.01
    assert abs(told["null"]["mean"][0][0]) < 0.01
    assert measure(mc, "cka", x, "--against", y, "--estimator", "biased")["values"][0][0] == pytest.approx(0.247, abs=0.02)
    same = measure(mc, "cka", x, "--against", x, "--permutations", 300)
    assert same["values"][0][0] == pytest.approx(1, abs=1e-6)
    assert same["null"]["p_values"][0][0] == pytest.approx(1 / 301)


@pytest.mark.parametrize("estimator", ["debiased", "biased"])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_cka_intervals_are_the_jackknife(mc, tmp_path, kernel, estimator):
    """Every sample left out in turn, the Grams formed and centred anew; RBF with the width of all samples."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(41, 7)).astype(np.float32) + 2
    y = (x[:, :5] + rng.normal(size=(41, 5))).astype(np.float32)
    told = measure(mc, "cka", save(tmp_path / "x.npy", x), "--against", save(tmp_path / "y.npy", y), "--kernel", kernel,
                   "--estimator", estimator, "--intervals")  # fmt: skip
    grams = [gram(m, kernel) for m in (x, y)]

    def value(keep):
        a, b = (centred(g[np.ix_(keep, keep)], estimator == "debiased").ravel() for g in grams)
        return a @ b / np.sqrt((a @ a) * (b @ b))

    n = len(x)
    each = np.array([value(np.delete(np.arange(n), i)) for i in range(n)])
    half = 1.959964 * np.sqrt((n - 1) * np.mean((each - each.mean()) ** 2))
    whole = value(np.arange(n))
    assert 0.1 < whole < 0.9 and half < 0.5, "a case that tells nothing"
    assert told["intervals"]["values"][0][0] == pytest.approx([max(-1, whole - half), min(1, whole + half)], abs=1e-4)
    assert "jackknife" in told["intervals"]["method"]
    # Within one set: the same interval both ways, a sure 1 on the diagonal.
    np.savez(tmp_path / "both.npz", x=x, y=y)
    both = np.array(measure(mc, "cka", tmp_path / "both.npz", "--kernel", kernel, "--estimator", estimator, "--intervals")
                    ["intervals"]["values"])  # fmt: skip
    assert np.allclose(both[0, 1], told["intervals"]["values"][0][0], atol=1e-5) and np.allclose(both[0, 1], both[1, 0], atol=1e-6)
    assert np.allclose(both[[0, 1], [0, 1]], 1, atol=1e-5)


def test_cka_shuffles_each_pair_once(mc, tmp_path):
    rng = np.random.default_rng(9)
    np.savez(tmp_path / "all.npz", **{f"m{i}": rng.normal(size=(40, 6 + i)).astype(np.float32) for i in range(4)})
    null = measure(mc, "cka", tmp_path / "all.npz", "--permutations", 50)["null"]
    for key in ("p_values", "mean", "percentile_95"):
        values = np.array(null[key])
        assert (values == values.T).all() and len(np.unique(values[np.triu_indices(4, 1)])) > 2, key


def test_cka_does_not_change_with_rotation_shift_and_scale(mc, tmp_path):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(150, 40))
    q, _ = np.linalg.qr(rng.normal(size=(40, 40)))
    a, b = save(tmp_path / "a.npy", x), save(tmp_path / "b.npy", 300 * x @ q + 1000)
    assert measure(mc, "cka", a, "--against", b)["values"][0][0] == pytest.approx(1, abs=1e-4)


def test_cka_in_blocks_equals_cka_at_once(mc, tmp_path):
    """3,000 samples need several blocks of rows."""
    rng = np.random.default_rng(6)
    base = rng.normal(size=(3000, 20))
    matrices = {f"m{i}": (base + 0.3 * i * rng.normal(size=(3000, 20))).astype(np.float32) for i in range(12)}
    np.savez(tmp_path / "all.npz", **matrices)
    ours = np.array(measure(mc, "cka", tmp_path / "all.npz")["values"])
    assert np.abs(ours - reference_cka(matrices.values(), "linear", True)).max() < 2e-5


# ---- spectrum ----


def test_rank_is_the_reference(mc, tmp_path):
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(400, 90)) * np.arange(1, 91.0) ** -0.7).astype(np.float32) + 3
    y = (rng.normal(size=(50, 5)) @ rng.normal(size=(5, 200))).astype(np.float32)  # fewer samples than features, rank 5
    for name, m in (("x", x), ("y", y)):
        told = measure(mc, "rank", save(tmp_path / f"{name}.npy", m), "--eigenvalues")["results"][0]
        s = np.linalg.svd((m - m.mean(0, dtype=np.float64)).astype(np.float64), compute_uv=False)
        variance = s**2 / (len(m) - 1)
        keep = s > max(m.shape) * 2.0**-23 * s[0]
        assert told["rank"] == keep.sum() == (90 if name == "x" else 5)
        p, q = s / s.sum(), variance / variance.sum()
        entropy = lambda v: -(v[v > 0] * np.log(v[v > 0])).sum()  # noqa: E731
        # Squares of what rounding leaves of singular values that are 0 count in the entropy of s.
        assert told["effective_rank"] == pytest.approx(np.exp(entropy(p)), rel=1e-9 if name == "x" else 1e-3)
        assert told["participation_ratio"] == pytest.approx(variance.sum() ** 2 / (variance**2).sum(), rel=1e-9)
        assert told["stable_rank"] == pytest.approx(variance.sum() / variance[0], rel=1e-9)
        assert told["spectral_entropy"] == pytest.approx(entropy(q), rel=1e-9)
        assert np.allclose(told["eigenvalues"][: keep.sum()], variance[: keep.sum()], rtol=1e-9)
    told = measure(mc, "rank", tmp_path / "x.npy", "--intervals")["results"][0]
    first, last = told["power_law"]["first"], told["power_law"]["last"]
    assert (first, last) == (11, 45)
    i = np.arange(first, last + 1)
    s = np.linalg.svd((x - x.mean(0, dtype=np.float64)).astype(np.float64), compute_uv=False)
    (slope, _), cov = np.polyfit(np.log(i), np.log(s[first - 1 : last] ** 2), 1, cov=True)
    assert told["power_law"]["exponent"] == pytest.approx(-slope, rel=1e-9)
    assert told["power_law"]["standard_error"] == pytest.approx(np.sqrt(cov[0, 0]), rel=1e-6)
    assert 1.2 < told["power_law"]["exponent"] < 1.8
    for key in ("effective_rank", "participation_ratio"):
        low, high = told[key + "_interval"]
        assert low < told[key] < high


# ---- neighbours ----


def plane(rng, n=150):
    q, _ = np.linalg.qr(rng.normal(size=(20, 3)))
    return rng.uniform(size=(n, 3)) @ q.T


def test_dimension_of_a_plane(mc, tmp_path):
    rng = np.random.default_rng(2)
    x = plane(rng)
    q, _ = np.linalg.qr(rng.normal(size=(20, 20)))
    values = []
    for name, m in (("plain", x), ("turned", 50 * x @ q), ("twice", np.concatenate([x, x[:40]]))):
        told = measure(mc, "dimension", save(tmp_path / f"{name}.npy", m.astype(np.float32)))["results"][0]
        assert told["duplicates"] == (40 if name == "twice" else 0)
        values.append((told["twonn"]["mle"], told["twonn"]["regression"], told["levina_bickel"]["value"]))
        low, high = told["twonn"]["interval"]
        assert low < told["twonn"]["mle"] < high
    assert np.allclose(values[0], values[1], rtol=1e-3)
    assert np.allclose(values[0], values[2], rtol=1e-3)
    assert all(2.5 < v < 3.5 for v in values[0]), values[0]
    d = np.sort(cdist(x.astype(np.float32).astype(float), x.astype(np.float32).astype(float)), 1)[:, 1:]
    log = np.log(d[:, 1] / d[:, 0])
    s = np.sort(log)[:135]
    y = -np.log(1 - np.arange(1, 136) / 150)
    inverse = np.log(d[:, 9:10] / d[:, :9]).mean(1)
    assert values[0] == pytest.approx((1 / log.mean(), (s @ y) / (s @ s), 1 / inverse.mean()), rel=1e-6)


@pytest.mark.parametrize("shift", [0, 1e4])
def test_neighbours_are_exact(mc, tmp_path, shift):
    """Also far from the origin, where float32's squares hold no distance any more."""
    rng = np.random.default_rng(4)
    x = (rng.normal(size=(700, 30)) + shift).astype(np.float32)
    y = (x + 0.8 * rng.normal(size=x.shape)).astype(np.float32)
    k = 12
    told = measure(mc, "neighbours", save(tmp_path / "x.npy", x), save(tmp_path / "y.npy", y), "--neighbours", k)
    near = []
    for m in (x, y):
        d = cdist(m.astype(float), m.astype(float))
        np.fill_diagonal(d, np.inf)
        near.append([set(np.lexsort((np.arange(700), row))[:k]) for row in d])
    share = np.mean([len(a & b) / k for a, b in zip(*near)])
    assert told["values"][0][1] == pytest.approx(share, abs=1e-12)
    assert told["values"][0][0] == 1
    assert told["chance"] == pytest.approx(k / 699)


def test_geodesic_is_scipys(mc, tmp_path):
    rng = np.random.default_rng(8)
    t = rng.uniform(0, 4, 300)
    x = np.stack([np.cos(t) * t, np.sin(t) * t, rng.uniform(size=300)], 1)
    x = np.concatenate([x, x[:60] + 100]).astype(np.float32)  # two pieces
    told = measure(mc, "geodesic", save(tmp_path / "x.npy", x), "--neighbours", 7, "--out", tmp_path / "d.npy")["results"][0]
    d = cdist(x.astype(float), x.astype(float))
    near = np.argsort(d + np.diag([np.inf] * len(d)), 1)[:, :7]
    graph = np.zeros_like(d)
    for i, row in enumerate(near):
        graph[i, row] = graph[row, i] = d[i, row]
    want = shortest_path(graph, directed=False)
    ours = np.load(tmp_path / "d.npy")
    assert np.array_equal(np.isinf(ours), np.isinf(want))
    both = np.isfinite(want)
    assert np.allclose(ours[both], want[both], rtol=1e-9)
    assert told["components"] == connected_components(graph)[0] > 1
    upper = np.triu(both, 1)
    assert told["mean_ratio"] == pytest.approx((want[upper] / d[upper]).mean(), rel=1e-9)


# ---- alignment and directions ----


def test_procrustes_is_scipys(mc, tmp_path):
    rng = np.random.default_rng(9)
    x = rng.normal(size=(80, 12))
    q, _ = np.linalg.qr(rng.normal(size=(12, 12)))
    y = 5 * x @ q + 2
    z = rng.normal(size=(80, 12))
    np.savez(tmp_path / "m.npz", x=x.astype(np.float32), y=y.astype(np.float32), z=z.astype(np.float32))
    pairs = measure(mc, "procrustes", tmp_path / "m.npz", "--all-pairs")["pairs"]
    assert [(p["left"], p["right"]) for p in pairs] == [("x", "y"), ("x", "z"), ("y", "z")]
    assert pairs[0]["distance"] < 1e-3
    a, b = (m.astype(np.float32).astype(float) - m.astype(np.float32).astype(float).mean(0) for m in (x, z))
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    r, _ = orthogonal_procrustes(a, b)
    assert pairs[1]["distance"] == pytest.approx(np.linalg.norm(a @ r - b), rel=1e-6)


def test_directions(mc, tmp_path):
    rng = np.random.default_rng(10)
    u = np.zeros(30)
    u[3] = 1
    x = (rng.normal(size=(90, 30)) + 2 * u).astype(np.float32)
    y = (rng.normal(size=(110, 30)) - 2 * u).astype(np.float32)
    told = measure(mc, "direction", save(tmp_path / "x.npy", x), "--against", save(tmp_path / "y.npy", y), "--out",
                   tmp_path / "d.safetensors")["results"][0]  # fmt: skip
    assert told["train"] == 100
    assert told["held_out"] == 100
    assert told["accuracy"] > 0.93
    assert told["auc"] > 0.98
    low, high = told["accuracy_interval"]
    assert low < told["accuracy"] <= high
    from test_capture import read_safetensors

    d = read_safetensors(tmp_path / "d.safetensors")["x"]
    assert np.linalg.norm(d) == pytest.approx(1, abs=1e-6)
    assert d[3] > 0.9
    # Classes that do not differ: chance, on samples that the direction has not seen.
    same = measure(mc, "direction", save(tmp_path / "a.npy", rng.normal(size=(400, 30)).astype(np.float32)), "--against",
                   save(tmp_path / "b.npy", rng.normal(size=(400, 30)).astype(np.float32)))["results"][0]  # fmt: skip
    assert same["accuracy_interval"][0] < 0.5 < same["accuracy_interval"][1]


# ---- files ----


def test_npy_of_every_kind_and_order(mc, tmp_path):
    rng = np.random.default_rng(11)
    x = rng.integers(-100, 100, (40, 6)).astype(np.float64)
    want = measure(mc, "rank", save(tmp_path / "f8.npy", x))["results"][0]["participation_ratio"]
    for name, m in {"f4": x.astype("f4"), "f2": x.astype("f2"), "i1": x.astype("i1"), "i8": x.astype("i8"),
                    "i4": np.asfortranarray(x.astype("i4"))}.items():  # fmt: skip
        assert measure(mc, "rank", save(tmp_path / f"{name}.npy", m))["results"][0]["participation_ratio"] == want, name


def test_compressed_archives(mc, tmp_path, monkeypatch):
    """np.savez_compressed's files: noise, repetition, long zeros, every level of compression, zip64 structures; damage is told."""
    rng = np.random.default_rng(13)
    arrays = {"noise": rng.normal(size=(300, 40)), "steps": np.repeat(rng.integers(0, 5, (60, 7)), 5, axis=0).astype(np.float32),
              "mostly_zero": np.eye(300, 900, dtype=np.float32), "small": rng.normal(size=(300, 1)).astype(np.float16)}  # fmt: skip
    np.savez(tmp_path / "plain.npz", **arrays)
    want = measure(mc, "rank", tmp_path / "plain.npz", "--eigenvalues")["results"]
    np.savez_compressed(tmp_path / "packed.npz", **arrays)
    assert (tmp_path / "packed.npz").stat().st_size < (tmp_path / "plain.npz").stat().st_size
    assert measure(mc, "rank", tmp_path / "packed.npz", "--eigenvalues")["results"] == want
    members = {name: zipfile.ZipFile(tmp_path / "plain.npz").read(f"{name}.npy") for name in arrays}

    def write(path, method, level=None):
        with zipfile.ZipFile(path, "w", method, compresslevel=level) as z:
            for name, data in members.items():
                with z.open(f"{name}.npy", "w", force_zip64=True) as f:
                    f.write(data)
        return path

    for level in (0, 1, 4, 9):
        told = measure(mc, "rank", write(tmp_path / f"{level}.npz", zipfile.ZIP_DEFLATED, level), "--eigenvalues")["results"]
        assert told == want, level
    for what, limit in (("ZIP64_LIMIT", 1000), ("ZIP_FILECOUNT_LIMIT", 1)):  # as for archives of 4 GiB, of 65,536 members
        with monkeypatch.context() as m:
            m.setattr(zipfile, what, limit)
            path = write(tmp_path / f"{what}.npz", zipfile.ZIP_DEFLATED)
        assert b"PK\x06\x06" in path.read_bytes(), "no zip64 end of the directory"
        assert measure(mc, "rank", path, "--eigenvalues")["results"] == want, what
    error = error_of(mc("probe", "rank", write(tmp_path / "other.npz", zipfile.ZIP_BZIP2), "--output", "json"))
    assert "compressed" in error["message"]
    data = (tmp_path / "packed.npz").read_bytes()
    for trial in range(60):
        damaged = bytearray(data[: rng.integers(len(data))] if trial % 5 == 4 else data)
        for _ in range(3):
            damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        path = tmp_path / "fuzz.npz"
        path.write_bytes(damaged)
        r = mc("probe", "rank", path, "--output", "json")
        assert r.code in (0, 1), (trial, r.code, r.err)


def test_files_that_are_refused(mc, tmp_path):
    good = tmp_path / "good.npy"
    np.save(good, np.ones((5, 4), np.float32))
    data = good.read_bytes()
    np.savez(tmp_path / "two.npz", a=np.ones((5, 4)), b=np.ones((6, 4)))
    np.save(tmp_path / "line.npy", np.ones(5))
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    nan = np.ones((5, 4), np.float32)
    nan[3, 1] = np.nan
    np.save(tmp_path / "nan.npy", nan)
    (tmp_path / "short.npy").write_bytes(data[:-8])
    (tmp_path / "long.npy").write_bytes(data + b"12")
    (tmp_path / "huge.npy").write_bytes(data.replace(b"(5, 4)", b"(9999999999, 99999999999)"[:6]))
    (tmp_path / "magic.npy").write_bytes(b"\x93NUMPX" + data[6:])
    broken = bytearray((tmp_path / "two.npz").read_bytes())
    broken[90] ^= 1
    (tmp_path / "broken.npz").write_bytes(broken)
    for name, words in {"two.npz": "5", "line.npy": "matrix", "text.npy": "kind", "nan.npy": "row 3",
                        "short.npy": "bytes", "long.npy": "behind", "magic.npy": "no .npy", "broken.npz": "",
                        "none.npy": ""}.items():  # fmt: skip
        error = error_of(mc("probe", "rank", tmp_path / name, "--output", "json"))
        assert words in error["message"], (name, error)
    rng = np.random.default_rng(12)
    for trial in range(60):  # bytes changed anywhere: an answer or an error, never a crash
        damaged = bytearray(data if trial % 2 else (tmp_path / "two.npz").read_bytes())
        for _ in range(3):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        path = tmp_path / f"fuzz.{'npy' if trial % 2 else 'npz'}"
        path.write_bytes(damaged)
        assert mc("probe", "rank", path, "--output", "json").code in (0, 1)


# ---- of a capture ----


def test_measures_of_a_capture(mc, tmp_path):
    data = write_data(tmp_path / "data.jsonl", prompts(60))
    states = tmp_path / "states"
    assert mc("probe", "capture", "--model", model_path("smollm2"), "--data", data, "--layers", "0,10,20,29", "--pool", "mean",
              "--out", states).code == 0  # fmt: skip
    told = measure(mc, "cka", states, "--svg", tmp_path / "cka.svg")
    assert told["rows"] == [f"resid_post.{i}" for i in (0, 10, 20, 29)]
    values = np.array(told["values"])
    assert np.allclose(np.diag(values), 1)
    from test_capture import read_capture

    _, tensors, _ = read_capture(states)
    want = reference_cka([tensors[f"layer.{i}"] for i in (0, 10, 20, 29)], "linear", True)
    assert np.abs(values - want).max() < 2e-5
    for what, extra in (("rank", ()), ("dimension", ("--neighbours", 5)), ("neighbours", ("--neighbours", 5)), ("procrustes", ())):
        out = tmp_path / f"{what}.svg"
        assert mc("probe", what, states, *extra, "--svg", out).code == 0
        xml.dom.minidom.parse(str(out))
    xml.dom.minidom.parse(str(tmp_path / "cka.svg"))
    one = measure(mc, "rank", states, "--sites", "resid_post.10")["results"]
    assert [r["name"] for r in one] == ["resid_post.10"]
    assert "resid_post.10" in error_of(mc("probe", "rank", states, "--sites", "resid_post.11", "--output", "json"))["next"]
    manifest = json.loads((states / "manifest.json").read_text())
    (states / "manifest.json").write_text(json.dumps(manifest | {"complete": False}))
    assert "not finished" in error_of(mc("probe", "rank", states, "--output", "json"))["message"]


def test_the_direction_causes_what_it_finds(mc, tmp_path):
    """Questions against statements: found on held-out prompts; projected out, the model's states no longer hold it."""
    subjects = ["the baker", "an old sailor", "my sister", "the teacher", "a tall man", "the girl", "our friend", "the king"]
    verbs = ["found the bridge", "painted a map", "sold seven keys", "saw the rain", "wrote a letter"]
    yes = write_data(tmp_path / "yes.jsonl", [f"Is it true that {s} {v}?" for s in subjects for v in verbs])
    no = write_data(tmp_path / "no.jsonl", [f"It is true that {s} {v}." for s in subjects for v in verbs])
    model = model_path("smollm2")

    def accuracy(tag, *extra):
        for name, data in (("yes", yes), ("no", no)):
            assert mc("probe", "capture", "--model", model, "--data", data, "--layers", "10,20", "--pool", "mean", "--out",
                      tmp_path / f"{name}{tag}", *extra).code == 0  # fmt: skip
        results = measure(mc, "direction", tmp_path / f"yes{tag}", "--against", tmp_path / f"no{tag}", "--out",
                          tmp_path / f"d{tag}.safetensors")["results"]  # fmt: skip
        return {r["name"]: r for r in results}

    before = accuracy("")
    assert before["resid_post.10"]["accuracy"] > 0.95
    after = accuracy("-ablated", "--edit", f"project-out resid_post.10 {tmp_path / 'd.safetensors'}#resid_post.10")
    # The class means were moved onto each other along the direction that was made of half of the prompts.
    assert after["resid_post.10"]["norm"] < 0.5 * before["resid_post.10"]["norm"]
