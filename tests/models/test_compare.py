"""`mc backends compare`: every engine that answers is measured in a process of its own; what is absent says why. And the
choice of an engine: one line where something is computed, none elsewhere; each missing engine's message, fix and exit code."""

from __future__ import annotations

import pytest
from conftest import error_of, measures_memory, model_path

MEASURED = ("time_to_first_token_s", "prefill_tokens_per_s", "decode_tokens_per_s", "first_compile_s", "from_cache_s", "load_s",
            "peak_host_bytes", "peak_device_bytes")  # fmt: skip
ENGINES = {"cuda": "CUDA is required for the CUDA backend", "jax": "jax is required for the JAX backend",
           "mlx": "mlx is required for the MLX backend"}  # fmt: skip


def alone(tmp_path):
    """Only the host engine answers: the others' libraries are no libraries."""
    for name in ENGINES:
        (tmp_path / f"libmc_engine_{name}.so").write_text("hidden")
    return {"MODELCYPHER_ENGINE_PATH": str(tmp_path)}


@pytest.mark.parametrize("name", ENGINES)
def test_a_missing_engine_says_why_and_how_to_get_it(mc, tmp_path, name):
    error = error_of(mc("score", "--model", model_path("smollm2"), "--text", "a b", "--backend", name, "--output", "json",
                        env=alone(tmp_path)))  # fmt: skip
    assert error["code"] == "MC-E0402"
    assert error["message"].startswith(ENGINES[name] + ": ")
    assert error["next"]
    text = mc("score", "--model", model_path("smollm2"), "--text", "a b", "--backend", name, env=alone(tmp_path))
    assert text.code == 1
    assert ENGINES[name] in text.err
    assert "next: " in text.err


def test_tables_without_a_model(mc, tmp_path):
    told = mc("backends", "compare", "--output", "json", env=alone(tmp_path)).json()
    assert told["schema"] == "mc.compare/1"
    host, *others = told["engines"]
    assert (host["name"], host["available"], host["gradients"], host["gpu"]) == ("numpy", True, "yes", False)
    assert {e["name"]: e["message"].split(":")[0] for e in others} == ENGINES
    assert all(e["next"] for e in others)
    text = mc("backends", "compare", "--markdown", env=alone(tmp_path))
    assert "### Capability matrix" in text.out
    assert "| feature | numpy | cuda | jax | mlx |" in text.out
    # A reason of any length widens no column: it stands under the table with its fix.
    text = mc("backends", "compare", env=alone(tmp_path)).out
    table, reasons = text.split("Quick selection\n")[1].split("\n\n")[0].split("\ncuda: ")
    assert max(map(len, table.splitlines())) < 80
    for begin in ENGINES.values():
        assert begin in "cuda: " + reasons
    assert reasons.count("\n  next: ") == len(ENGINES)


@measures_memory
def test_measured_with_a_model(mc, tmp_path):
    told = mc("backends", "compare", "--model", model_path("smollm2"), "--prompt-tokens", 8, "--gen-tokens", 4, "--output", "json",
              env=alone(tmp_path)).json()  # fmt: skip
    forms = told["engines"][0]["measured"]
    assert list(forms) == ["file", "affine8", "affine4"]
    for form, values in forms.items():
        assert tuple(values) == MEASURED, form
        assert all(values[k] > 0 for k in MEASURED if k not in ("first_compile_s", "from_cache_s"))
    # Four bits take less than eight.
    assert forms["affine4"]["peak_device_bytes"] < forms["affine8"]["peak_device_bytes"]


def test_the_choice_is_told_once_and_only_where_something_is_computed(mc, tmp_path):
    score = ["score", "--model", model_path("smollm2"), "--text", "a b"]
    line = "mc: engine numpy:0: chosen because "
    assert mc(*score, env=alone(tmp_path)).err.count(line) == 1
    for quiet in (["--help"], ["backends"], ["model", "info", model_path("smollm2")], [*score, "--backend", "numpy"], [*score, "-q"]):
        assert line not in mc(*quiet, env=alone(tmp_path)).err, quiet
    assert "mc: engine numpy:0: MC_BACKEND=numpy" in mc(*score, env={"MC_BACKEND": "numpy"}).err


def test_settings_that_contradict_or_mean_nothing(mc):
    score = ["score", "--model", model_path("smollm2"), "--text", "a b", "--output", "json"]
    error = error_of(mc(*score, env={"MC_BACKEND": "numpy", "MODELCYPHER_BACKEND": "cuda"}))
    assert error["code"] == "MC-E0403"
    for where in ({"MODELCYPHER_BACKEND": "metal"}, {"MC_BACKEND": "metal"}):
        error = error_of(mc(*score, env=where))
        assert error["code"] == "MC-E0401"
        assert error["next"] == "use one of numpy, cuda, jax, mlx"
    assert mc(*score, "--backend", "numpy:cpu").json()["device"] == "numpy:0"
    assert "numpy:0 (cpu)" in error_of(mc(*score, "--backend", "numpy:gpu"))["next"]


def test_doctor_tells_each_step_up_to_the_first_that_fails(mc, tmp_path):
    told = mc("doctor", "--output", "json", env=alone(tmp_path)).json()
    host, *others = told["engines"]
    assert [(s["step"], s["ok"]) for s in host["steps"]] == [("library", True), ("device", True), ("first kernel", True)]
    assert host["steps"][-1]["told"] == "computed and read back"
    for engine in others:
        (step,) = engine["steps"]
        assert (step["step"], step["ok"]) == ("library", False)
        assert step["told"].startswith(ENGINES[engine["name"]])
        assert step["next"]
