"""Runs the program as a user does, and finds models and goldens.

MC_BIN is the program (default build/release/bin/mc), MC_MODELS the folder with smollm2.gguf and gemma3.gguf (default models/).
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "models"
MODELS = Path(os.environ.get("MC_MODELS", ROOT / "models"))
# A sanitizer's own memory is many times the program's.
measures_memory = pytest.mark.skipif("MC_SANITIZER" in os.environ, reason="a sanitizer takes many times the memory that is measured")
ENGINE_SETTINGS = ("MODELCYPHER_BACKEND", "MC_BACKEND", "MC_SIMD", "MC_NUM_THREADS", "MC_DEBUG")


@dataclass
class Result:
    code: int
    out: str
    err: str
    peak_bytes: int
    seconds: float

    def json(self):
        assert self.code == 0, f"exit {self.code}\nstdout: {self.out[-2000:]}\nstderr: {self.err[-2000:]}"
        return json.loads(self.out)

    def exact_json(self):
        """Numbers stay text, so that equal means equal in every printed digit."""
        assert self.code == 0, f"exit {self.code}\nstdout: {self.out[-2000:]}\nstderr: {self.err[-2000:]}"
        return json.loads(self.out, parse_float=str)


def listen_to_ctrl_c():
    """A background job starts with Ctrl-C ignored, and hands that on; a user at a terminal does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Program:
    def __init__(self, path):
        self.path = path

    def __call__(self, *arguments, env=None, timeout=300, interrupt_when=None):
        """Runs `mc ARGUMENTS`. `interrupt_when()` becoming true sends Ctrl-C."""
        environment = {k: v for k, v in os.environ.items() if k not in ENGINE_SETTINGS} | (env or {})
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            start = time.monotonic()
            process = subprocess.Popen(
                [str(self.path), *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment,
                preexec_fn=listen_to_ctrl_c,
            )  # fmt: skip
            while True:
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    break
                if interrupt_when is not None and interrupt_when():
                    process.send_signal(signal.SIGINT)
                    interrupt_when = None
                if time.monotonic() - start > timeout:
                    os.kill(process.pid, signal.SIGKILL)
                    os.wait4(process.pid, 0)
                    process.returncode = -signal.SIGKILL
                    pytest.fail(f"mc {' '.join(map(str, arguments))[:200]} ran for more than {timeout} s")
                time.sleep(0.002)
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            text, log = out.read().decode(), err.read().decode("utf-8", "replace")
            return Result(process.returncode, text, log, usage.ru_maxrss * 1024, time.monotonic() - start)


def error_of(result, exit_code=1):
    """The error told in JSON on stdout, checked to be complete."""
    assert result.code == exit_code, f"exit {result.code}\n{result.out[-1000:]}\n{result.err[-1000:]}"
    told = json.loads(result.out)
    assert told["schema"] == "mc.error/1"
    assert set(told["error"]) >= {"code", "message", "where", "next"}
    assert all(told["error"][key] for key in ("code", "message", "next"))
    return told["error"]


@pytest.fixture(scope="session")
def mc():
    path = Path(os.environ.get("MC_BIN", ROOT / "build" / "release" / "bin" / "mc"))
    if not path.exists():
        pytest.fail(f"{path} is not there: build it with ./dev build, or set MC_BIN")
    return Program(path.resolve())


def model_path(name):
    path = MODELS / f"{name}.gguf"
    if not path.exists():
        pytest.fail(f"{path} is not there: ./dev demo fetches it, or set MC_MODELS")
    return path.resolve()


def golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


def bits_of(result):
    """SHA-256 of a score's ids and logprobs, which are printed so that they read back as the same bits."""
    told = "".join(f"{t['id']} {t['logprob']!r}\n" for t in result["tokens"])
    return hashlib.sha256(told.encode()).hexdigest()


def simd_levels():
    """The instruction sets of MC_SIMD that this machine has, slowest first."""
    flags = set()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            flags = set(line.split(":")[1].split())
            break
    levels = ["scalar"]
    if {"avx2", "fma", "f16c"} <= flags:
        levels.append("avx2")
    if {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= flags:
        levels.append("avx512")
    return levels
