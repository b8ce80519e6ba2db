"""modelcypher.probe and modelcypher.plot against NumPy and the command; the notebook."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from package_under_test import BUILD, ROOT

TEXTS = [f"{who} {what} {where}." for who in ("The cat", "My neighbour", "Nobody", "A child") for what in ("sleeps", "counts stars", "runs")
         for where in ("at home", "in the rain", "before noon")]


@pytest.fixture(scope="module")
def mc():
    import modelcypher

    return modelcypher


@pytest.fixture(scope="module")
def states(mc, model):
    return model.capture(TEXTS, layers=[0, 7, -1], pool="mean")


@pytest.fixture
def matrices():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((60, 12)).astype(np.float32)
    return {"x": x, "turned": x @ np.linalg.qr(rng.standard_normal((12, 12)))[0].astype(np.float32), "other": rng.standard_normal((60, 7))}


def linear_cka(x, y):
    """Song et al. 2012, written out over n × n matrices in float64."""
    def hsic(k, m):
        n = len(k)
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        return np.trace(k @ m) + k.sum() * m.sum() / (n - 1) / (n - 2) - 2 / (n - 2) * (k @ m).sum()
    k, m = np.float64(x) @ np.float64(x).T, np.float64(y) @ np.float64(y).T
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


def test_cka_is_what_numpy_says(mc, matrices):
    r = mc.probe.cka(matrices, permutations=30, intervals=True, seed=1)
    assert (r.left, r.right, r.samples) == (["x", "turned", "other"],) * 2 + (60,)
    names = list(matrices)
    want = [[linear_cka(matrices[a], matrices[b]) for b in names] for a in names]
    np.testing.assert_allclose(np.asarray(r.values), want, atol=2e-6)
    low, high = np.moveaxis(np.asarray(r.intervals), -1, 0)
    assert ((low - 1e-6 <= r.values.numpy()) & (r.values.numpy() <= high + 1e-6)).all()
    assert r.p_values.numpy()[0, 1] == pytest.approx(1 / 31) and r.p_values.numpy()[0, 2] > 0.05
    assert r.null_samples == 60
    assert mc.probe.cka(matrices["x"], matrices["other"]).values.tolist() == [[r.values.tolist()[0][2]]]


def test_measures_of_known_matrices(mc, matrices):
    x = np.float64(matrices["x"])
    s = mc.probe.spectrum({"x": matrices["x"]}, intervals=True)[0]
    want = np.linalg.eigvalsh(np.cov(x.T))[::-1]
    np.testing.assert_allclose(np.asarray(s.eigenvalues)[:12], want, rtol=1e-6)
    assert s.participation_ratio == pytest.approx(want.sum() ** 2 / (want**2).sum())
    assert s.rank == 12 and s.effective_rank_interval[0] < s.effective_rank < s.effective_rank_interval[1]
    assert mc.probe.procrustes({"x": matrices["x"]}, {"y": matrices["turned"]})[0].distance == pytest.approx(0, abs=2e-3)
    same = mc.probe.mutual_neighbours({"x": matrices["x"], "turned": matrices["turned"]}, k=5)
    assert same.values.numpy()[0, 1] == 1 and same.chance == pytest.approx(5 / 59)
    index, distance = mc.probe.nearest_neighbours(matrices["x"], 3)
    d = np.linalg.norm(x[:, None] - x[None], axis=-1) + np.diag([np.inf] * 60)
    np.testing.assert_array_equal(np.asarray(index), np.argsort(d, 1)[:, :3])
    np.testing.assert_allclose(np.asarray(distance), np.sort(d, 1)[:, :3], rtol=1e-6)
    line = np.random.default_rng(0).random((300, 1), np.float32) * np.ones((1, 5), np.float32)
    dims = mc.probe.dimension({"line": line}, k=5)[0]
    assert 0.8 < dims.twonn < 1.2 and dims.twonn_interval[0] < dims.twonn < dims.twonn_interval[1]
    line = np.linspace(0, 1, 300, dtype=np.float32)[:, None] * np.ones((1, 5), np.float32)
    g = mc.probe.geodesic({"line": line}, k=4, distances=True)[0]
    assert (g.components, g.largest_component) == (1, 300) and g.mean_ratio == pytest.approx(1, abs=1e-3)
    assert np.asarray(g.distances).shape == (300, 300)


def test_a_direction_finds_what_was_put_in_and_its_check_runs(mc, model):
    rng = np.random.default_rng(2)
    u = np.zeros(576, np.float32)
    u[17] = 1
    base = rng.standard_normal((80, 576)).astype(np.float32)
    d = mc.probe.direction({3: base[:40] + 4 * u}, {3: base[40:]}, train=0.7)[0]
    assert d.name == "resid_post.3" and d.direction.numpy().argmax() == 17 and d.accuracy > 0.7 and d.auc > 0.9
    assert d.held_out == (12, 12) and d.accuracy_interval[0] < d.accuracy <= d.accuracy_interval[1]
    controls = mc.probe.shuffled_directions({3: base[:40]}, {3: base[40:]}, 3)
    assert [np.linalg.norm(np.asarray(c)) for c in controls] == pytest.approx([1] * 3)
    a = mc.probe.check_by_ablation(model, TEXTS[:2], d.direction, controls=controls)
    assert a.texts == 2 and a.tokens == sum(len(model.tokenize(t)) for t in TEXTS[:2]) and a.kl > 0
    assert len(a.controls.tolist()) == 3 and a.p_value == (1 + sum(c >= a.kl for c in a.controls.tolist())) / 4


def test_predictions_are_the_scores(mc, model):
    text = TEXTS[0]
    p = mc.probe.entropy(model, text)
    score = model.score(text)
    tops = [t for t, i in zip(p.top_logprob.tolist(), p.ids[1:])]
    assert all(top >= logprob - 1e-6 for top, logprob in zip(tops, score.logprobs))
    same = mc.probe.divergence(model, model, text)
    assert same.kl.tolist() == [0] * len(p.ids)
    moved = mc.probe.divergence(model, model, text, edits_b="scale resid_post.9 factor=1.2")
    assert min(moved.kl.tolist()) > 0 and moved.a.top.tolist() == p.top.tolist()
    lens = mc.probe.lens(model, text, layers=[0, -1])
    assert lens.layers == [0, 29] and lens.top.shape == (2, len(p.ids))
    assert lens.top.tolist()[1] == p.top.tolist() and max(lens.kl.tolist()[1]) < 1e-6 < min(lens.kl.tolist()[0])


def test_captures_in_memory_and_on_disk_and_the_command_agree(mc, model, states, tmp_path):
    assert list(states) == [0, 7, 29] and states[0].shape == (36, 576)
    one = model.capture(TEXTS, layers=[0, 7, -1], pool="mean", batch_size=1)
    many = model.capture(TEXTS, layers=[0, 7, -1], pool="mean", max_memory="2GiB")
    for k, v in states.items():
        assert v.numpy().tobytes() == one[k].numpy().tobytes() == many[k].numpy().tobytes()
    told = model.capture(TEXTS, layers=[0, 7, -1], pool="mean", out=tmp_path / "c")
    assert told["prompts"] == 36
    from_disk = mc.probe.cka(tmp_path / "c")
    assert from_disk.values.tolist() == mc.probe.cka(states).values.tolist()
    assert from_disk.left == ["resid_post.0", "resid_post.7", "resid_post.29"]
    assert mc.probe.cka(tmp_path / "c", sites="resid_post.7,resid_post.29").left == ["resid_post.7", "resid_post.29"]
    binary = Path(os.environ.get("MC_BIN", BUILD.parent / "bin/mc"))
    out = subprocess.run([binary, "probe", "cka", tmp_path / "c", "--output", "json"], capture_output=True, text=True, check=True)
    np.testing.assert_allclose(json.loads(out.stdout)["values"], from_disk.values.tolist(), rtol=1e-12)
    rows = model.capture(TEXTS[:3], layers=[7])
    assert [r.shape[0] for r in rows[7]] == [len(model.tokenize(t)) for t in TEXTS[:3]]
    last = model.capture(TEXTS[:3], layers=[7], positions="-1")
    assert [a.numpy().tobytes() for a in last[7]] == [a[-1:].numpy().tobytes() for a in rows[7]]
    tokens = mc.probe.spectrum(rows)[0]  # lists of arrays: rows are tokens
    assert tokens.samples == sum(r.shape[0] for r in rows[7])


def test_plans_are_what_the_command_says(mc, model):
    plans = model.plan(200, 50, batch_size=3, layers=[-1])
    assert [p.command for p in plans] == ["infer", "score", "probe capture"]
    assert plans[0].total == plans[0].weights + plans[0].cache + max(plans[0].prefill, plans[0].decode)
    assert plans[2].rows == 3 and plans[2].host > 0 and plans[2].process > plans[2].total
    assert len(model.plan()) == 2
    with pytest.raises(MemoryError, match="one prompt"):
        model.capture(TEXTS, layers=[0], max_memory="30MB")


@pytest.mark.parametrize("call, error, words", [
    (lambda p, m: p.cka(np.zeros((5, 2)), kernel="cubic"), ValueError, "'linear' or 'rbf'"),
    (lambda p, m: p.cka({"a": np.ones((5, 3)), "b": np.ones((6, 3))}), ValueError, "b has 6 rows, a has 5"),
    (lambda p, m: p.spectrum(np.full((5, 3), np.nan)), ArithmeticError, "row 0 of samples holds a NaN"),
    (lambda p, m: p.spectrum(np.ones(4)), ValueError, "a matrix"),
    (lambda p, m: p.cka("/nowhere"), FileNotFoundError, "/nowhere"),
    (lambda p, m: p.samples({"a": np.ones((5, 3))}, "b"), ValueError, "there are a"),
    (lambda p, m: p.cka({}), ValueError, "nothing to measure"),
    (lambda p, m: p.procrustes(np.ones((5, 3))), ValueError, "give b"),
    (lambda p, m: p.direction({1: np.ones((5, 3))}, {2: np.ones((5, 3)), 3: np.ones((5, 3))}), ValueError, "resid_post.2, resid_post.3"),
    (lambda p, m: p.nearest_neighbours(np.ones((4, 2)), 4), ValueError, "use 1 to 3"),
    (lambda p, m: p.lens(m, "x", layers=[99]), IndexError, "30 layers"),
    (lambda p, m: m.capture(TEXTS, layers=[0], max_memory="lots"), ValueError, "no size"),
    (lambda p, m: m.capture(TEXTS, layers=[0], batch_size=0), ValueError, "1 or more"),
])  # fmt: skip
def test_wrong_input_is_told(mc, model, call, error, words):
    with pytest.raises(error) as e:
        call(mc.probe, model)
    assert words in str(e.value)


def test_figures(mc, model, states, tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    cka = mc.probe.cka(states)
    ax = mc.plot.similarity(cka)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "7", "29"]
    np.testing.assert_array_equal(ax.images[0].get_array(), cka.values.tolist())
    ax.figure.savefig(tmp_path / "cka.svg")
    assert (tmp_path / "cka.svg").stat().st_size > 5000
    results = mc.probe.spectrum(states, intervals=True)
    ax = mc.plot.layers(results, "effective_rank")
    assert list(ax.lines[0].get_ydata()) == [r.effective_rank for r in results] and len(ax.collections) == 1
    with pytest.raises(ValueError, match="it has effective_rank"):
        mc.plot.layers(results, "colour")
    lens = mc.probe.lens(model, "The capital of France is", layers=[0, 15, 29])
    ax = mc.plot.lens(lens, model)
    assert "Paris" in [t.get_text().strip() for t in ax.texts][-1]
    plans = model.plan(64, 8)
    ax = mc.plot.memory(plans)
    assert sum(p.get_width() for p in ax.patches) == pytest.approx(sum(p.total + p.host for p in plans) / 1e6)
    part = {"name": "layer.0", "mean_ulps": 1.0, "max_ulps": 2.0, "bound_ulps": 8.0}
    report = tmp_path / "parity.json"
    report.write_text(json.dumps({"engines": [{"name": "numpy", "parts": [part, part | {"name": "layer.1"}]}]}))
    ax = mc.plot.parity(report)
    assert [line.get_ydata()[0] for line in ax.lines] == [2, 1, 8] and ax.get_yscale() == "log"
    with pytest.raises(ValueError, match="no engine"):
        mc.plot.parity({"engines": []})


def test_without_matplotlib_the_error_says_what_to_install():
    code = "import sys; sys.modules['matplotlib'] = None\nimport modelcypher as mc\nmc.plot"
    r = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(BUILD)}, capture_output=True, text=True)
    assert r.returncode == 1 and "pip install matplotlib" in r.stderr


def test_the_notebook_runs_from_its_first_cell_to_its_last(model, tmp_path):
    pytest.importorskip("matplotlib")
    notebook = json.loads((ROOT / "examples/look_inside.ipynb").read_text("utf-8"))
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    assert len(cells) >= 8 and all(c["outputs"] or c["source"] == [] for c in notebook["cells"] if c["cell_type"] == "code")
    models = Path(os.environ.get("MC_MODELS") or ROOT / "models")
    script = tmp_path / "cells.py"
    script.write_text("import matplotlib; matplotlib.use('Agg')\n" + "\n".join(cells) + "\nassert found.accuracy > 0.5 and len(plans) == 9\n")
    r = subprocess.run([sys.executable, script], env=os.environ | {"PYTHONPATH": str(BUILD), "MC_MODELS": str(models)},
                       cwd=tmp_path, capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    assert "blue" in r.stdout
