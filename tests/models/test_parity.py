"""`mc parity`: the host engine agrees with the oracle, charts are drawn, and a missing engine or a
refused format is told. `--quantize`: the same bytes whoever computes."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET

import pytest
from conftest import error_of, model_path

FULL = os.environ.get("MC_TEST_FULL") == "1"


def parity(mc, name, *arguments):
    return mc("parity", "--model", model_path(name), "--output", "json", "--tokens", 8, "--greedy", 2, *arguments)


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_the_host_engine_is_within_the_bounds(mc, name, tmp_path):
    chart = tmp_path / "parity.svg"
    told = parity(mc, name, "--backends", "numpy", "--svg", chart).json()
    assert told["schema"] == "mc.parity/1"
    assert told["ok"]
    (engine,) = told["engines"]
    assert engine["first_divergence"] is None
    assert engine["top1_agreement"] == 1
    assert 0 < engine["mean_kl"] < 1e-6
    assert engine["greedy_equal"] == 2
    assert engine["parts"][-1]["name"] == "logits"
    for part in engine["parts"]:
        assert 0 < part["mean_ulps"] <= part["max_ulps"]
        assert part["share_of_bound"] <= 1
    assert all(b["equal"] for b in engine["quantized_bytes"])
    assert ET.parse(chart).getroot().tag.endswith("svg")


@pytest.mark.parametrize("name,dtype", [("smollm2", "bf16"), ("smollm2", "f16")] + [("gemma3", "bf16")] * FULL)
def test_sixteen_bits_are_within_bounds_that_mean_something(mc, name, dtype):
    told = parity(mc, name, "--backends", "numpy", "--dtype", dtype).json()
    assert told["ok"], told["engines"][0]["first_divergence"]
    (engine,) = told["engines"]
    # An engine that uses next to nothing of its bound would tell that the bound is loose.
    assert 0.02 < max(part["share_of_bound"] for part in engine["parts"]) <= 1


def test_two_engines_agree(mc):
    """The host engine beside each other engine that answers here."""
    here = [b["name"] for b in mc("backends", "--output", "json").json()["backends"] if b["available"]]
    if here == ["numpy"]:
        pytest.skip("no engine but numpy answers on this machine")
    told = mc("parity", "--model", model_path("smollm2"), "--backends", ",".join(here), "--tokens", 4, "--greedy", 1,
              "--layers", "0,15,-1", "--output", "json").json()  # fmt: skip
    assert told["ok"]
    assert [e["name"] for e in told["engines"]] == here
    for engine in told["engines"]:
        assert engine["top1_agreement"] == 1
        assert engine["mean_kl"] < 1e-6
        assert engine["quantized_bytes"]
        assert all(b["equal"] for b in engine["quantized_bytes"])


@pytest.mark.skipif(not FULL, reason="takes a minute an engine; ./dev test --full runs it")
def test_converted_weights_on_every_engine(mc, tmp_path):
    """Every command that takes --quantize, on every other engine that answers here, beside the host engine."""
    others = [b["name"] for b in mc("backends", "--output", "json").json()["backends"] if b["available"] and b["name"] != "numpy"]
    if not others:
        pytest.skip("no engine but numpy answers on this machine")
    model = ["--model", model_path("smollm2"), "--quantize", "affine4", "--output", "json"]
    score = ["score", *model, "--text", "Birds fly south"]
    infer = ["infer", *model, "--prompt", "Birds fly south", "--max-tokens", 2, "--temperature", 0]
    data = tmp_path / "data.jsonl"
    data.write_text('{"text": "Birds fly south"}\n')
    want, ids = mc(*score).json()["nll"], [t["id"] for t in mc(*infer).json()["tokens"]]
    for engine in others:
        told = mc(*score, "--backend", engine).json()
        assert (told["backend"], told["quantize"]) == (engine, "affine4")
        assert abs(told["nll"] - want) < 1e-4  # float32 sums in another order, along 30 layers
        assert [t["id"] for t in mc(*infer, "--backend", engine).json()["tokens"]] == ids
        bench = mc("bench", *model, "--backend", engine, "--prompt-tokens", 4, "--gen-tokens", 2, "--decode-context", 2, "--runs", 1)
        assert bench.json()["quantize"] == "affine4"
        capture = mc("probe", "capture", *model, "--backend", engine, "--data", data, "--layers", "0", "--out", tmp_path / engine)
        assert capture.code == 0, capture.err


def test_a_second_rounding_is_told(mc):
    result = mc("score", "--model", model_path("smollm2"), "--text", "a b", "--quantize", "affine8", "--output", "json")
    assert result.json()["requantized_from"] == ["Q4_1", "Q8_0"]
    assert "quantized already (Q4_1, Q8_0)" in result.err


def test_chosen_layers(mc):
    told = parity(mc, "smollm2", "--backends", "numpy", "--layers", "0,-1").json()
    assert [p["name"] for p in told["engines"][0]["parts"]] == ["layer.0", "layer.29", "logits"]


def test_converted_weights(mc):
    told = parity(mc, "smollm2", "--backends", "numpy", "--quantize", "affine4:32", "--layers", "0").json()
    assert told["ok"]
    score = mc("score", "--model", model_path("smollm2"), "--text", "The capital of France is", "--quantize", "affine8",
               "--output", "json").json()  # fmt: skip
    plain = mc("score", "--model", model_path("smollm2"), "--text", "The capital of France is", "--output", "json").json()
    assert score["quantize"] == "affine8"
    assert 0 < abs(score["nll"] - plain["nll"]) < 0.1


def test_an_engine_that_is_not_there_fails_the_proof(mc, tmp_path):
    result = mc("parity", "--model", model_path("smollm2"), "--output", "json", "--tokens", 4, "--greedy", 0, "--layers", "0",
                "--backends", "numpy,mlx", env={"MODELCYPHER_MLX": str(tmp_path)})  # fmt: skip
    assert result.code == 1
    assert '"ok": false' in result.out.replace('":false', '": false')
    assert "mlx is required for the MLX backend" in result.out


@pytest.mark.parametrize("arguments,code,word", [
    (["--quantize", "affine4:128", "--backends", "numpy"], "MC-E0101", "group of 64 or 32"),
    (["--quantize", "affine3", "--backends", "numpy"], "MC-E0101", "affine4 or affine8"),
    (["--backends", "numpy", "--layers", "99"], "MC-E0303", "0 to 29"),
    (["--backends", "metal"], "MC-E0401", "numpy"),
])  # fmt: skip
def test_what_is_refused(mc, arguments, code, word):
    error = error_of(parity(mc, "smollm2", *arguments))
    assert error["code"] == code
    assert word in error["message"] + error["next"]
