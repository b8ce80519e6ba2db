"""The jax engine: plugins found or refused, the conformance suite, and the main job beside the host engine. Without a plugin,
or in a build without the engine, the reason is printed and the rest is skipped."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import error_of, golden, model_path
from test_capture import capture, read_capture, write_data
from test_score import TOLERANCE, values

ROOT = pathlib.Path(__file__).resolve().parents[2]
FULL = os.environ.get("MC_TEST_FULL") == "1"
SENTENCE = "Birds fly south when winter comes."


def engine(mc, env=None):
    told = json.loads(mc("doctor", "--output", "json", env=env).out)
    return next(e for e in told["engines"] if e["name"] == "jax")


@pytest.fixture(scope="module")
def jax(mc):
    status = engine(mc)
    if not status["available"]:
        pytest.skip(f"{status['message']}; {status['next']}")
    return status


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Compiled programs of these tests alone."""
    return {"MODELCYPHER_CACHE": str(tmp_path_factory.mktemp("cache"))}


def test_the_conformance_suite_passes_without_a_skip(mc, jax, cache):
    """In the gate a sample, forward cases many to a program: an XLA compile takes longer than any case."""
    program = mc.path.parent / "mc_conformance"
    modes = [] if FULL else ["--mode", "fwd,dec,vjp,donate", "--sample", "48"]
    command = [sys.executable, ROOT / "tests/conformance/check.py", program, "--backend", "jax", "--per-program", "64", *modes]
    r = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | cache)
    print(r.stdout[-800:])
    assert r.returncode == 0, r.stdout[-4000:] + r.stderr[-2000:]
    assert " skipped by 0 entries" in r.stdout


def test_doctor_shows_the_plugin_and_each_package(mc, jax):
    facts = jax["facts"]
    for key in ("MODELCYPHER_PJRT_PLUGIN", "package libtpu", "package lammps-jax-pjrt-cpu", "plugin cpu", "platform cpu", "programs"):
        assert facts[key], key
    assert "PJRT 0." in facts["plugin cpu"]
    assert facts["first program"].startswith("compiled, run and read")


def plugin_of(jax):
    return jax["facts"]["plugin cpu"].split(",")[0]


def told(mc, env):
    arguments = ["score", "--model", model_path("smollm2"), "--text", "a b", "--backend", "jax", "--output", "json"]
    error = error_of(mc(*arguments, env=env))
    assert error["code"] == "MC-E0402"
    assert error["message"].startswith("jax is required for the JAX backend: ")
    assert error["next"]
    return error["message"]


def test_a_missing_plugin_is_an_error_with_its_fix(mc, jax, tmp_path):
    assert "which is no file" in told(mc, {"MODELCYPHER_PJRT_PLUGIN": str(tmp_path / "none.so")})
    text = tmp_path / "text.so"
    text.write_text("no library")
    assert "can't be loaded" in told(mc, {"MODELCYPHER_PJRT_PLUGIN": str(text)})
    other = next(pathlib.Path(mc.path).parent.parent.glob("lib/libmodelcypher.so*"))
    assert "has no GetPjrtApi" in told(mc, {"MODELCYPHER_PJRT_PLUGIN": str(other)})


@pytest.mark.parametrize("version,why", [((0, 12), "speaks PJRT 0.12"), ((1, 200), "speaks PJRT 1.200"), (None, "has no PJRT_")])
def test_the_handshake_comes_first(mc, jax, tmp_path, version, why):
    """A plugin of another version, or one that lacks functions, is refused before any of them is called."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if not compiler:
        pytest.skip("no compiler for a plugin that is not one")
    major, minor = version or (0, 90)
    size = 4096 if version else 48  # bytes of the table
    source = tmp_path / "p.cpp"
    source.write_text(f"""
        #include <cstddef>
        struct Version {{ size_t size; void* next; int major, minor; }};
        struct Api {{ size_t size; void* next; Version version; void* slots[600]; }};
        extern "C" const Api* GetPjrtApi() {{
          static Api api{{{size}, nullptr, {{24, nullptr, {major}, {minor}}}, {{}}}};
          return &api;
        }}""")
    library = tmp_path / "plugin.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    assert why in told(mc, {"MODELCYPHER_PJRT_PLUGIN": str(library)})


def test_a_tpu_plugin_without_a_tpu_is_refused_with_its_reason(mc, jax, tmp_path):
    if pathlib.Path("/dev/accel0").exists() or pathlib.Path("/dev/vfio/0").exists():
        pytest.skip("this machine has a TPU")
    library = tmp_path / "libtpu.so"
    library.symlink_to(plugin_of(jax))  # any plugin will do: the handshake comes before the device
    assert "this machine has no TPU" in told(mc, {"MODELCYPHER_PJRT_PLUGIN": str(library)})


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_logprobs_agree_with_the_host_engine(mc, jax, cache, name):
    def of(backend):
        arguments = ["score", "--model", model_path(name), "--text", SENTENCE, "--backend", backend, "--output", "json"]
        result = mc(*arguments, env=cache).json()
        assert result["backend"] == backend
        return [token["id"] for token in result["tokens"]], values(result)[0][1:]

    (ids, ours), (want_ids, want) = of("jax"), of("numpy")
    assert ids == want_ids
    error = np.abs(np.array(ours) - np.array(want))
    print(f"{name}: |logprob difference| max {error.max():.1e}")
    assert error.max() <= TOLERANCE


def test_greedy_tokens_are_the_goldens_and_programs_are_kept(mc, jax, cache):
    case = golden("smollm2")["greedy"][0]
    count = min(8, len(case["chosen"]))
    arguments = ["infer", "--model", model_path("smollm2"), "--prompt", case["prompt"], "--max-tokens", count, "--temperature", 0,
                 "--backend", "jax", "--output", "json"]  # fmt: skip

    def hits():
        kinds = mc("cache", "ls", "--output", "json", env=cache).json()["kinds"]
        return sum(k["hits"] for k in kinds if k["kind"] == "xla")

    for again in (False, True):
        before = hits()
        result = mc(*arguments, env=cache).json()
        assert [token["id"] for token in result["tokens"]] == case["chosen"][:count]
        if again:
            assert hits() >= before + 2  # prefill and decoding


def test_the_number_of_programs_does_not_grow_with_the_tokens(mc, jax, cache):
    """Prompt, step, and the sampler's few; another for the step when the cache grows past 256 positions."""

    def programs(tokens):
        r = mc("infer", "--model", model_path("smollm2"), "--prompt", "Once upon a time", "--max-tokens", tokens, "--temperature", 0.8,
               "--seed", 3, "--backend", "jax", "--log-level", "debug", env=cache)  # fmt: skip
        assert r.code == 0, r.err
        counts = re.findall(r"(\d+) compiled and (\d+) read so far", r.err)
        return sum(map(int, counts[-1]))

    few = programs(4)
    assert 3 <= few <= 12
    assert programs(14) == few


def test_capture_agrees_with_the_host_engine(mc, jax, cache, tmp_path):
    data = write_data(tmp_path / "data.jsonl", ["The baker found rain", "Nobody sold a map"])
    of = {}
    for backend in ("numpy", "jax"):
        assert capture(mc, "smollm2", data, tmp_path / backend, "--backend", backend, layers=[0, 12, 29], env=cache).code == 0
        of[backend] = read_capture(tmp_path / backend)[1]
    assert of["jax"].keys() == of["numpy"].keys()
    for key, want in of["numpy"].items():
        want, got = np.asarray(want, np.float64), np.asarray(of["jax"][key], np.float64)
        assert got.shape == want.shape
        # Sums in another order: float32's 6e-8 over some thousand roundings along 30 layers, beside the largest activation.
        assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max(), key
