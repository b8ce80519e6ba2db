"""`mc probe entropy` and `mc probe lens` against NumPy on captured logits."""

from __future__ import annotations

import xml.dom.minidom

import numpy as np
import pytest
from conftest import error_of, model_path
from test_capture import read_capture, write_data

TEXT = "The painter found seven keys under the bridge, and the capital of France is Paris."
EDIT = "scale heads.5 factor=0 heads=1"


def logits_of(mc, name, folder, *extra):
    data = write_data(folder / "text.jsonl", [TEXT])
    out = folder / f"logits{len(extra)}"
    assert mc("probe", "capture", "--model", model_path(name), "--data", data, "--sites", "logits", "--out", out, *extra).code == 0
    x = read_capture(out)[1]["logits"].astype(np.float64)
    return x - np.log(np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True)) - x.max(1, keepdims=True)


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_entropy_and_kl(mc, tmp_path, name):
    p = logits_of(mc, name, tmp_path)
    told = mc("probe", "entropy", "--model", model_path(name), "--text", TEXT, "--output", "json").json()
    tokens = told["results"][0]["tokens"]
    assert np.allclose([t["entropy"] for t in tokens], -(np.exp(p) * p).sum(1), atol=1e-5)
    assert [t["top"]["id"] for t in tokens] == [*p.argmax(1)]
    assert np.allclose([t["top"]["logprob"] for t in tokens], p.max(1), atol=1e-5)
    assert told["entropy"]["mean"] == pytest.approx(np.mean([t["entropy"] for t in tokens]))
    q = logits_of(mc, name, tmp_path, "--edit", EDIT)
    told = mc("probe", "entropy", "--model", model_path(name), "--text", TEXT, "--edit", EDIT, "--output", "json").json()
    tokens = told["results"][0]["tokens"]
    want, back = (np.exp(p) * (p - q)).sum(1), (np.exp(q) * (q - p)).sum(1)
    assert np.allclose([t["kl"] for t in tokens], want, atol=1e-5)
    assert np.allclose([t["kl_reverse"] for t in tokens], back, atol=1e-5)
    assert want.max() > 1e-3
    assert told["top1_agreement"] == np.mean(p.argmax(1) == q.argmax(1))
    same = mc("probe", "entropy", "--model", model_path(name), "--against", model_path(name), "--text", TEXT, "--output", "json").json()
    assert same["kl"]["mean"] == 0
    assert same["top1_agreement"] == 1


def test_figure_of_few_tokens(mc, tmp_path):
    path = tmp_path / "few.svg"
    assert mc("probe", "lens", "--model", model_path("smollm2"), "--text", "Paris is", "--layers", "3,20", "--svg", path).code == 0
    figure = xml.dom.minidom.parse(str(path)).documentElement
    title = figure.getElementsByTagName("text")[0]
    assert "Logit lens" in title.firstChild.data
    # A bold letter is at least half as wide as it is high.
    end = float(title.getAttribute("x")) + 0.5 * float(title.getAttribute("font-size")) * len(title.firstChild.data)
    assert end < float(figure.getAttribute("width")), "the title is cut off"


def test_lens(mc, tmp_path):
    p = logits_of(mc, "smollm2", tmp_path)
    told = mc("probe", "lens", "--model", model_path("smollm2"), "--text", TEXT, "--layers", "3,20,29", "--svg", tmp_path / "l.svg",
              "--output", "json").json()  # fmt: skip
    xml.dom.minidom.parse(str(tmp_path / "l.svg"))
    assert [layer["layer"] for layer in told["layers"]] == [3, 20, 29]
    last = told["layers"][-1]["tokens"]
    assert all(t["kl"] < 1e-6 for t in last)
    assert [t["top"]["id"] for t in last] == [*p.argmax(1)]
    # A layer's lens is what the model gives when its last layer's stream is replaced by that layer's.
    data = write_data(tmp_path / "one.jsonl", [TEXT])
    assert mc("probe", "capture", "--model", model_path("smollm2"), "--data", data, "--layers", "20", "--out", tmp_path / "s").code == 0
    q = logits_of(mc, "smollm2", tmp_path, "--edit", f"replace resid_post.29 {tmp_path / 's'}#layer.20 prompt=0")
    lens = told["layers"][1]["tokens"]
    assert [t["top"]["id"] for t in lens] == [*q.argmax(1)]
    assert np.allclose([t["kl"] for t in lens], (np.exp(p) * (p - q)).sum(1), rtol=1e-5, atol=1e-5)
    assert np.allclose([t["final_logprob"] for t in lens], q[np.arange(len(q)), p.argmax(1)], atol=1e-4)
    assert told["layers"][0]["tokens"][0]["kl"] > 1


def test_what_is_refused(mc, tmp_path):
    model = model_path("smollm2")
    for arguments, code, words in (
        (["entropy", "--model", model, "--against", model_path("gemma3"), "--text", "x"], 1, "vocabular"),
        (["entropy", "--model", model, "--text", ""], 1, "no tokens"),
        (["lens", "--model", model, "--text", "x", "--layers", "30"], 1, "29"),
        (["lens", "--model", model], 2, "--text"),
        (["lens", "--model", model, "--text", "x", "--edit", "scale resid_post.1 factor=2 positions=40"], 1, "never fired"),
    ):
        error = error_of(mc("probe", *arguments, "--output", "json"), code)
        assert words in error["message"] + error["next"], error
