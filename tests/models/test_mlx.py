"""The mlx engine: found or refused, the conformance suite, and the main job beside the float64 goldens. Without libmlx, or
in a build without the engine, the reason is printed and the rest is skipped."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import error_of, golden, model_path
from test_capture import capture, read_capture, write_data
from test_score import TOLERANCE, values

ROOT = pathlib.Path(__file__).resolve().parents[2]
FULL = os.environ.get("MC_TEST_FULL") == "1"
SENTENCE = "Birds fly south when winter comes."  # libmlx's CPU build is slow: few tokens


def engine(mc, env=None):
    told = json.loads(mc("doctor", "--output", "json", env=env).out)
    return next(e for e in told["engines"] if e["name"] == "mlx")


@pytest.fixture(scope="module")
def mlx(mc):
    status = engine(mc)
    if not status["available"]:
        pytest.skip(f"{status['message']}; {status['next']}")
    return status


def test_the_conformance_suite_passes_without_a_skip(mc, mlx):
    program = mc.path.parent / "mc_conformance"
    modes = [] if FULL else ["--mode", "fwd,dec,vjp"]
    command = [sys.executable, ROOT / "tests/conformance/check.py", program, "--backend", "mlx", *modes]
    r = subprocess.run(command, capture_output=True, text=True, check=False)
    print(r.stdout[-800:])
    assert r.returncode == 0, r.stdout[-4000:] + r.stderr[-2000:]
    assert " skipped by 0 entries" in r.stdout


def test_doctor_shows_each_place_and_what_it_stands_on(mc, mlx):
    facts = mlx["facts"]
    places = ("the Python in PATH", "where it was built") if not os.environ.get("MODELCYPHER_MLX") else ()  # if set, nothing else is tried
    for key in ("MODELCYPHER_MLX", *places, "version", "float32 products", "host memory"):
        assert facts[key], key
    assert facts["float32 products"].startswith("full")


def test_host_memory_enters_at_its_own_address(mc, mlx):
    """The addresses that doctor shows: of a block of ours, and of libmlx's array over it."""
    told = mlx["facts"]["host memory"]
    if told == "copied":
        pytest.skip("this libmlx computes on a GPU")
    ours, theirs = re.search(r"used as it stands, without a copy \(ours at (\w+), libmlx's array at (\w+)\)", told).groups()
    assert int(ours, 16) == int(theirs, 16) > 0


def test_the_processors_time_for_a_token_is_told(mc, mlx):
    told = mc("bench", "--model", model_path("smollm2"), "--backend", "mlx", "--prompt-tokens", 2, "--gen-tokens", 2, "--decode-context", 1,
              "--runs", 1, "--output", "json").json()  # fmt: skip
    for part in ("prefill", "decode"):  # one thread of libmlx's beside ours: at most two cores' worth of the wall time
        assert 0 < told[part]["cpu_s_per_token"] <= 2.5 * os.cpu_count() / told[part]["tokens_per_s"]


@pytest.mark.parametrize("env,why", [
    ({"MODELCYPHER_MLX": "/no/such/folder"}, "there is no libmlx"),
    ({"MODELCYPHER_MLX": __file__}, "can't be loaded"),
])  # fmt: skip
def test_a_missing_library_is_an_error_with_its_fix(mc, mlx, env, why):
    error = error_of(mc("score", "--model", model_path("smollm2"), "--text", "a b", "--backend", "mlx", "--output", "json", env=env))
    assert error["code"] == "MC-E0402"
    assert error["message"].startswith("mlx is required for the MLX backend: ")
    assert why in error["message"]
    assert error["next"].startswith("pip install mlx==")


def test_products_that_are_not_float32_are_refused(mc, mlx):
    error = error_of(mc("score", "--model", model_path("smollm2"), "--text", "a b", "--backend", "mlx", "--output", "json",
                        env={"MLX_ENABLE_TF32": "1"}))  # fmt: skip
    assert error["code"] == "MC-E0403"


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_logprobs_agree_with_the_host_engine(mc, mlx, name):
    def of(backend):
        result = mc("score", "--model", model_path(name), "--text", SENTENCE, "--backend", backend, "--output", "json").json()
        assert result["backend"] == backend
        return [token["id"] for token in result["tokens"]], values(result)[0][1:]

    (ids, ours), (want_ids, want) = of("mlx"), of("numpy")
    assert ids == want_ids
    error = np.abs(np.array(ours) - np.array(want))
    print(f"{name}: |logprob difference| max {error.max():.1e}")
    assert error.max() <= TOLERANCE


def test_greedy_tokens_are_the_goldens(mc, mlx):
    case = golden("smollm2")["greedy"][0]
    count = min(8, len(case["chosen"]))
    result = mc("infer", "--model", model_path("smollm2"), "--prompt", case["prompt"], "--max-tokens", count, "--temperature", 0,
                "--backend", "mlx", "--output", "json").json()  # fmt: skip
    assert [token["id"] for token in result["tokens"]] == case["chosen"][:count]


def test_capture_agrees_with_the_host_engine(mc, mlx, tmp_path):
    data = write_data(tmp_path / "data.jsonl", ["The baker found rain", "Nobody sold a map"])
    of = {}
    for backend in ("numpy", "mlx"):
        assert capture(mc, "smollm2", data, tmp_path / backend, "--backend", backend, layers=[0, 12, 29]).code == 0
        of[backend] = read_capture(tmp_path / backend)[1]
    assert of["mlx"].keys() == of["numpy"].keys()
    for key, want in of["numpy"].items():
        want, got = np.asarray(want, np.float64), np.asarray(of["mlx"][key], np.float64)
        assert got.shape == want.shape
        # Sums in another order: float32's 6e-8 over some thousand roundings along 30 layers, beside the largest activation.
        assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max(), key
