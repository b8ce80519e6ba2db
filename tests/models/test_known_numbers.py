"""Numbers that a correct tool gives, known without a reference program, and faults that measures often have.

test_measures.py has more of them: CKA of unrelated samples, the dimension of a plane and of its turned and doubled
copies.
"""

from __future__ import annotations

import numpy as np
import pytest
from conftest import error_of
from test_measures import measure, save


def f4(x):
    return np.asarray(x, np.float32)


def test_few_samples_of_many_features_are_not_alike(mc, tmp_path):
    """With more features than samples the biased CKA of unrelated matrices is near 1, the debiased near 0."""
    rng = np.random.default_rng(20)
    x, y = (save(tmp_path / f"{n}.npy", f4(rng.normal(size=(40, 2000)))) for n in "xy")
    assert measure(mc, "cka", x, "--against", y, "--estimator", "biased")["values"][0][0] > 0.9
    told = measure(mc, "cka", x, "--against", y, "--permutations", 200)
    assert abs(told["values"][0][0]) < 0.05
    assert told["null"]["p_values"][0][0] > 0.01


def test_p_values_are_what_they_say(mc, tmp_path):
    """Of unrelated pairs a tenth has p <= 0.1: 144 pairs, four binomial deviations either way; their mean is a half."""
    rng = np.random.default_rng(21)
    for name in "ab":
        np.savez(tmp_path / f"{name}.npz", **{f"m{i:02}": f4(rng.normal(size=(30, 5)) + 3) for i in range(12)})
    told = measure(mc, "cka", tmp_path / "a.npz", "--against", tmp_path / "b.npz", "--permutations", 199)
    p = np.array(told["null"]["p_values"]).ravel()
    assert len(p) == 144
    assert p.min() >= 1 / 200 and p.max() <= 1
    spread = np.sqrt(0.1 * 0.9 / 144)
    assert abs((p <= 0.1).mean() - 0.1) < 4 * spread
    assert abs(p.mean() - 0.5) < 4 / np.sqrt(12 * 144)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e6])
def test_dimension_and_rank_have_no_unit(mc, tmp_path, scale):
    """No threshold is absolute: powers of two would be exact, these round once an element."""
    rng = np.random.default_rng(22)
    x = rng.normal(size=(120, 4)) @ rng.normal(size=(4, 25))
    a, b = save(tmp_path / "a.npy", f4(x)), save(tmp_path / "b.npy", f4(x * scale))
    for what, keys in (("dimension", ("twonn", "levina_bickel")), ("rank", ("participation_ratio", "effective_rank", "rank"))):
        one, other = (measure(mc, what, path)["results"][0] for path in (a, b))
        for key in keys:
            left, right = (v[key] for v in (one, other))
            for field in left if isinstance(left, dict) else ():
                if isinstance(left[field], float):
                    assert right[field] == pytest.approx(left[field], rel=1e-3), (what, key, field)
            if not isinstance(left, dict):
                assert right == pytest.approx(left, rel=1e-3), (what, key)
    assert measure(mc, "rank", b)["results"][0]["rank"] == 4


def test_intervals_of_the_dimension_hold_it(mc, tmp_path):
    """95 of 100 intervals should; 40 draws of 80 points of the plane, edges and all: at least 33."""
    rng = np.random.default_rng(23)
    np.savez(tmp_path / "all.npz", **{f"m{i:02}": f4(rng.uniform(size=(80, 2)) @ rng.normal(size=(2, 9))) for i in range(40)})
    results = measure(mc, "dimension", tmp_path / "all.npz")["results"]
    assert len(results) == 40
    held = sum(r["twonn"]["interval"][0] <= 2 <= r["twonn"]["interval"][1] for r in results)
    print(held, np.mean([r["twonn"]["mle"] for r in results]))
    assert held >= 33
    widths = [r["twonn"]["interval"][1] - r["twonn"]["interval"][0] for r in results]
    assert 0.3 < np.median(widths) < 2, "an interval that says something"


def test_too_few_samples_for_a_dimension(mc, tmp_path):
    """Of eight points any number from 2 to 8 comes out for a dimension of 4: refused, and so are copies of few points."""
    x = np.random.default_rng(24).normal(size=(8, 4))
    for name, m in (("eight", x), ("copies", np.tile(x, (30, 1)))):
        error = error_of(mc("probe", "dimension", save(tmp_path / f"{name}.npy", f4(m)), "--neighbours", 5, "--output", "json"))
        assert "got 8" in error["message"], error


@pytest.mark.parametrize("features", [64, 896])
def test_rank_of_repeated_prompts(mc, tmp_path, features):
    """Five vectors, each forty times: five less their mean, whatever the width; the rest is no null space of a model."""
    five = np.random.default_rng(25).normal(size=(5, features))
    told = measure(mc, "rank", save(tmp_path / "x.npy", f4(np.tile(five, (40, 1)))))["results"][0]
    assert told["rank"] == 4
    assert told["participation_ratio"] <= 4 + 1e-6


def test_spectra_known_beforehand(mc, tmp_path):
    """Orthogonal columns of known lengths: a flat spectrum counts its directions, a power law gives its exponent back."""
    rng = np.random.default_rng(26)
    q, _ = np.linalg.qr(np.concatenate([np.ones((300, 1)), rng.normal(size=(300, 80))], 1))
    q = q[:, 1:]  # columns without a mean
    flat = measure(mc, "rank", save(tmp_path / "flat.npy", f4(30 * q)))["results"][0]
    for key in ("participation_ratio", "effective_rank", "stable_rank"):
        assert flat[key] == pytest.approx(80, rel=1e-4), key
    assert flat["spectral_entropy"] == pytest.approx(np.log(80), rel=1e-4)
    for exponent in (0.5, 1.0, 2.0):
        variance = np.arange(1, 81.0) ** -exponent
        told = measure(mc, "rank", save(tmp_path / "law.npy", f4(30 * q * np.sqrt(variance))))["results"][0]
        assert told["power_law"]["exponent"] == pytest.approx(exponent, abs=1e-3)
        assert told["participation_ratio"] == pytest.approx(variance.sum() ** 2 / (variance**2).sum(), rel=1e-4)


def test_a_circle_of_forty_points(mc, tmp_path):
    """Neighbours are 2 sin(pi / 40) = 0.157 apart; the way to the opposite point is twenty of these, along the circle."""
    t = 2 * np.pi * np.arange(40) / 40
    circle = save(tmp_path / "circle.npy", f4(np.stack([np.cos(t), np.sin(t)], 1)))
    told = measure(mc, "geodesic", circle, "--neighbours", 2, "--out", tmp_path / "d.npy")["results"][0]
    assert told["components"] == 1
    d = np.load(tmp_path / "d.npy")
    side = 2 * np.sin(np.pi / 40)
    assert side == pytest.approx(0.157, abs=1e-3)
    steps = np.abs(np.arange(40)[:, None] - np.arange(40)[None, :])
    want = side * np.minimum(steps, 40 - steps)
    assert np.allclose(d, want, atol=1e-5)
    chord = 2 * np.sin(np.pi * steps / 40)
    assert (d >= chord - 1e-6).all(), "no way is shorter than the straight one"
