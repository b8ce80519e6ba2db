"""The conformance suite of the engines that this machine can run, and a look at the suite itself."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
PROGRAM = pathlib.Path(os.environ.get("MC_BIN", HERE.parents[1] / "build/release/bin/mc")).parent / "mc_conformance"


def check(*options, env=None):
    command = [sys.executable, HERE / "check.py", PROGRAM, *options]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(env or {})}, check=False)


def test_the_host_engine_passes_every_case():
    r = check("--exact")
    print(r.stdout[-1500:])
    assert r.returncode == 0, r.stdout[-6000:] + r.stderr[-2000:]
    assert int(re.search(r"oracle: (\d+) passed", r.stdout)[1]) > 15000
    assert "; 0 skipped by 0 entries" in r.stdout


def test_the_same_bits_for_every_instruction_set_and_number_of_threads():
    """All results of the table; decompositions, too: LAPACK takes the path of the machine, whatever MC_SIMD says."""
    def sha(**env):
        r = check("--sha256", "--mode", "fwd", env=env)
        assert r.returncode == 0, r.stdout[-2000:] + r.stderr
        return re.search(r"sha256 (\w+)", r.stdout)[1]

    want = sha(MC_NUM_THREADS="1", MC_SIMD="scalar")
    doctor = subprocess.run([PROGRAM.parent / "mc", "doctor"], capture_output=True, text=True, check=True).stdout
    best = re.search(r"best of this machine:?\s+(\w+)", doctor)[1]
    for isa in {"avx2": ["avx2"], "avx512": ["avx2", "avx512"]}.get(best, []):
        assert sha(MC_NUM_THREADS="2", MC_SIMD=isa) == want, isa


def test_a_small_error_is_noticed():
    """Bounds that everything passes would prove nothing: results spoilt by 512 ulps of their dtype must fail. Those
    that do not are ill-conditioned draws and long chains, whose bounds are that wide."""
    r = check("--corrupt", "512", "--mode", "fwd")
    total, noticed = map(int, re.search(r"corrupted (\d+) cases by 512.0 ulps, (\d+) were noticed", r.stdout).groups())
    assert total > 3000
    assert noticed >= 0.9 * total, r.stdout


@pytest.mark.parametrize("options", [["--no-such-option"], ["--backend"], ["--seed"]])
def test_wrong_options_are_refused(options):
    assert subprocess.run([PROGRAM, *options], capture_output=True, check=False).returncode == 2
