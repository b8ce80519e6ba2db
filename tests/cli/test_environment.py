"""What the environment and the system do to the command: settings that are wrong, threads and memory that run out, traces."""
from __future__ import annotations

import json
import os
import resource
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MC = Path(os.environ.get("MC_BIN", ROOT / "build" / "release" / "bin" / "mc"))
MODEL = Path(os.environ.get("MC_MODELS", ROOT / "models")) / "smollm2.gguf"
SANITIZED = "MC_SANITIZER" in os.environ


def mc(*args, env=None, **options):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MODELCYPHER_") and k not in ("MC_BACKEND", "MC_SIMD",
        "MC_NUM_THREADS")}
    return subprocess.run([MC, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, env={**clean,
        **(env or {})}, **options)


def test_doctor_and_backends_name_the_choice():
    doctor = json.loads(mc("doctor", "--output", "json", env={"MODELCYPHER_BACKEND": "numpy"}).stdout)
    assert doctor["default_engine"] == {"ok": True, "told": "numpy:0, MODELCYPHER_BACKEND=numpy"}
    backends = json.loads(mc("backends", "--output", "json", env={"MC_BACKEND": "numpy"}).stdout)
    assert backends["default"] == {"device": "numpy:0", "why": "MC_BACKEND=numpy"}
    assert "default engine" in mc("doctor").stdout and "\ndefault numpy:0: " in mc("backends", env={"MC_BACKEND": "numpy"}).stdout


@pytest.mark.parametrize("env, words", [
    ({"MODELCYPHER_BACKEND": "foo"}, ["no engine is named 'foo'", "use one of numpy"]),
    ({"MODELCYPHER_BACKEND": "numpy", "MC_BACKEND": "jax"}, ["MODELCYPHER_BACKEND is 'numpy'", "set only one"]),
    ({"MC_SIMD": "neon"}, ["MC_SIMD", "neon"]),
    ({"MC_NUM_THREADS": "zz"}, ["MC_NUM_THREADS", "zz"]),
])
def test_doctor_tells_which_setting_is_wrong(env, words):
    r = mc("doctor", env=env)
    assert r.returncode == 0 and all(w in r.stdout for w in words), r
    json.loads(mc("doctor", "--output", "json", env=env).stdout)


def test_a_host_engine_that_can_not_start_is_not_shown_as_healthy():
    rows = json.loads(mc("backends", "--output", "json", env={"MC_SIMD": "neon"}).stdout)["backends"]
    assert rows[0]["name"] == "numpy" and not rows[0]["available"] and "MC_SIMD" in rows[0]["message"]


@pytest.mark.skipif(SANITIZED, reason="a sanitizer's own memory passes any limit")
def test_threads_that_the_system_does_not_give_are_an_error():
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))

    r = mc("score", MODEL, "--text", "a b c", "--threads", "1000", preexec_fn=limit)
    assert r.returncode == 1 and "MC-E0501" in r.stderr and "of 1000 threads" in r.stderr and "use --threads" in r.stderr, r


def test_more_threads_than_cpus_give_the_same_numbers_in_time():
    few, many = mc("score", MODEL, "--text", "a b c", "-q"), mc("score", MODEL, "--text", "a b c", "-q", "--threads", "64")
    assert few.returncode == 0 and few.stdout == many.stdout


def test_a_text_without_end_is_refused():
    r = mc("score", MODEL, "--file", "/dev/zero")
    assert r.returncode == 1 and "MC-E0306" in r.stderr and "256 MiB" in r.stderr


def test_bytes_without_a_token_are_told(tmp_path):
    text = tmp_path / "t"
    text.write_bytes(b"\xff\xfe\x00abc")
    r = mc("score", MODEL, "--file", text, "--output", "json")
    assert r.returncode == 0 and "no token for some bytes" in r.stderr


def test_a_profile_is_a_chrome_trace(tmp_path):
    trace = tmp_path / "trace.json"
    assert mc("score", MODEL, "--text", "a b c", "--profile", trace).returncode == 0
    events = json.loads(trace.read_text())
    assert {"name", "ph", "ts", "dur", "pid", "tid", "args"} <= set(events[0])
    names = {e["name"] for e in events}
    assert {"compiled", "rms_norm", "rope"} <= names and any("matmul" in n for n in names), names
    assert all(e["dur"] >= 0 for e in events)


@pytest.mark.parametrize("quiet", [[], ["-q"]])
def test_a_profile_that_can_not_be_written_is_an_error(quiet):
    r = mc("score", MODEL, "--text", "a b c", "--profile", "/dev/full", *quiet)
    assert r.returncode == 1 and "MC-E0203" in r.stderr


@pytest.mark.parametrize("args, where", [
    (["probe", "capture", MODEL, "--data", "x.jsonl", "--layers", "0,0", "--out", "o"], "--layers"),
    (["probe", "capture", MODEL, "--data", "x.jsonl", "--layers", "3-1", "--out", "o"], "--layers"),
    (["infer", MODEL, "-p", "a", "--timings"], "--timings"),
])
def test_command_lines_that_are_wrong_end_with_2(args, where, tmp_path):
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n')
    r = mc(*args, cwd=tmp_path)
    assert r.returncode == 2 and where in r.stderr and "MC-E0001" in r.stderr, r
