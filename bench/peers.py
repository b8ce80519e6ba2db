"""Our speed and exactness beside llama.cpp's and OpenBLAS's: same files, same threads, in turn, in one run on one machine.

peers.py MC [--models DIR] [--runs 5] [--threads 1,2] [--only smollm2|gemma3|micro|error] [--prompt-tokens 512] [--gen-tokens 128]
         [--simd avx2] [--peer-python PYTHON]

Writes docs/verified/cpu-ISA.json and that machine's section of docs/benchmarks.md; parts left out by --only keep their last figures.
With --simd avx2 on a wider machine everybody is held to AVX2: ourselves by MC_SIMD, OpenBLAS by OPENBLAS_CORETYPE=Haswell, llama.cpp
by --peer-python, a Python whose llama-cpp-python was built with -DGGML_NATIVE=OFF -DGGML_AVX512=OFF -DGGML_AVX2=ON -DGGML_FMA=ON
-DGGML_F16C=ON -DGGML_BMI2=ON; it has its own section.
llama-cpp-python is installed into .venv-peers first if no Python at hand has it (it is compiled here: about ten minutes).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import report

ROOT = Path(__file__).resolve().parents[1]
HERE = Path(__file__).resolve().parent
MODELS = ("smollm2", "gemma3")
PEER_VERSION = "llama-cpp-python==0.3.36"
ERROR_TEXTS = ("prose", "code", "scripts", "story")
# A comparison must meet the peer at its best: these pin OpenBLAS to a slower kernel or another blocking.
HANDICAPS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_VERBOSE", "MC_SIMD", "MC_DEBUG", "MC_BACKEND", "MODELCYPHER_BACKEND")


def say(text):
    print(text, file=sys.stderr, flush=True)


FORCED = {}  # what --simd sets for every contender


def environment(**extra):
    return {k: v for k, v in os.environ.items() if k not in HANDICAPS} | FORCED | extra


def run_json(command, stdin=None, env=None):
    done = subprocess.run([str(c) for c in command], input=stdin, capture_output=True, text=True, env=env or environment())
    if done.returncode:
        raise SystemExit(f"peers: {' '.join(str(c) for c in command[:6])} … failed ({done.returncode})\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1] if "\n{" in done.stdout.strip() else done.stdout)


def offers_fast(mc, path):
    """Whether this build has `--precision fast`; a build without it says so and is measured without."""
    done = subprocess.run(
        [str(mc), "score", "--model", str(path), "--text", "Hello there", "--precision", "fast", "--output", "json"],
        capture_output=True, text=True, env=environment(),
    )  # fmt: skip
    if done.returncode == 0:
        return True
    error = json.loads(done.stdout)["error"]
    if error["code"] != "MC-E0106":
        raise SystemExit(f"peers: mc score failed: {error}")
    say(f"peers: no fast precision here: {error['message']}")
    return False


def has_peer(python):
    return subprocess.run([str(python), "-c", "import llama_cpp"], capture_output=True).returncode == 0


def peer_python():
    """A Python that has llama-cpp-python, made if need be."""
    private = ROOT / ".venv-peers" / "bin" / "python"
    for python in (Path(sys.executable), private):
        if python.exists() and has_peer(python):
            return python
    say(f"peers: installing {PEER_VERSION} into .venv-peers (compiles for about ten minutes)")
    subprocess.run([sys.executable, "-m", "venv", str(ROOT / ".venv-peers")], check=True)
    env = environment(CMAKE_ARGS="-DGGML_NATIVE=ON -DCMAKE_BUILD_TYPE=Release", CMAKE_BUILD_PARALLEL_LEVEL=str(os.cpu_count()))
    subprocess.run(
        [str(private), "-m", "pip", "install", "--disable-pip-version-check", "--no-binary", "llama-cpp-python", PEER_VERSION],
        check=True, env=env, stdout=sys.stderr,
    )  # fmt: skip
    if not has_peer(private):
        raise SystemExit("peers: llama-cpp-python was installed but can't be imported")
    return private


def machine():
    info = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        info.setdefault(key.strip(), value.strip())
    flags = set(info.get("flags", "").split())
    isa = "scalar"
    if {"avx2", "fma"} <= flags:
        isa = "avx2"
    if {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= flags:
        isa = "avx512-vnni" if "avx512_vnni" in flags else "avx512"
    return {
        "isa": isa,
        "cpu": f"{info.get('model name', platform.machine())} family {info.get('cpu family', '?')} model {info.get('model', '?')}",
        "cores": len(os.sched_getaffinity(0)),
    }


def measure_model(mc, python, path, threads, options):
    """Runs the contenders in turn; returns {contender: {measure: [values]}}."""
    size = ["--prompt-tokens", options.prompt_tokens, "--gen-tokens", options.gen_tokens]
    ours = [mc, "bench", "--model", path, *size, "--threads", threads, "--runs", 1, "--output", "json"]
    contenders = {
        "mc": [*ours, "--precision", "highest"],
        "mc fast": [*ours, "--precision", "fast"],
        "llama.cpp": [python, HERE / "peer_llama_cpp.py", "speed", path, threads, options.prompt_tokens, options.gen_tokens],
    }
    if not offers_fast(mc, path):
        del contenders["mc fast"]
    measures = ("prefill", "decode", "first_prefill_s", "load_ms", "peak_rss_bytes")
    figures = {name: {measure: [] for measure in measures} for name in contenders}
    for turn in range(options.runs):
        for name, command in contenders.items():
            answer = run_json(command)
            for part in ("prefill", "decode"):
                figures[name][part].append(answer[part]["tokens_per_s"])
            figures[name]["first_prefill_s"].append(answer["prefill"]["first_run_s"])
            for part in ("load_ms", "peak_rss_bytes"):
                figures[name][part].append(answer[part])
        last = {name: f"{f['prefill'][-1]:.0f}/{f['decode'][-1]:.0f}" for name, f in figures.items()}
        say(f"{path.stem}, {threads} thread(s), run {turn + 1}: prefill/decode tokens/s {last}")
    return figures


def measure_micro(mc, threads, runs):
    """OpenBLAS through NumPy and our own small benchmarks, in turn."""
    ours = mc.parent / "mc_micro"
    figures = {"openblas": {}, "mc": {}}
    for _ in range(runs):
        peer = run_json([sys.executable, HERE / "ceilings.py"], env=environment(OPENBLAS_NUM_THREADS=str(threads)))
        mine = run_json([ours, "--threads", threads])
        for name, answer in (("openblas", peer), ("mc", mine)):
            for key, value in answer.items():
                figures[name].setdefault(key, []).append(value)
    say(f"micro, {threads} thread(s): {figures}")
    return figures


def measure_error(mc, python, path):
    """Mean and maximum |logprob error| in nats against the float64 goldens, each contender on the same texts."""
    golden = json.loads((ROOT / "tests" / "golden" / "models" / f"{path.stem}.json").read_text())
    cases = [case for case in golden["scored"] if case["name"] in ERROR_TEXTS]
    truth = [p for case in cases for p in case["logprobs"][1:]]
    ids = json.dumps([c["ids"] for c in cases])
    answers = {"llama.cpp": sum(run_json([python, HERE / "peer_llama_cpp.py", "logprobs", path], ids), [])}
    precisions = {"mc": "highest"} | ({"mc fast": "fast"} if offers_fast(mc, path) else {})
    for name, precision in precisions.items():
        answers[name] = []
        for case in cases:
            result = run_json([mc, "score", "--model", path, "--text", case["text"], "--precision", precision, "--output", "json"])
            answers[name] += [token["logprob"] for token in result["tokens"][1:]]
    errors = {}
    for name, values in answers.items():
        differences = [abs(a - b) for a, b in zip(values, truth, strict=True)]
        errors[name] = {"mean": sum(differences) / len(differences), "max": max(differences), "tokens": len(differences)}
    say(f"{path.stem}: |logprob error| {errors}")
    return errors


def main():
    parser = argparse.ArgumentParser(description="ModelCypher beside llama.cpp and OpenBLAS on this CPU")
    parser.add_argument("mc", type=Path)
    parser.add_argument("--models", type=Path, default=Path(os.environ.get("MC_MODELS", ROOT / "models")))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--only", action="append", choices=[*MODELS, "micro", "error"])
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--gen-tokens", type=int, default=128)
    parser.add_argument("--simd", choices=["avx2"], help="hold every contender to this instruction set")
    parser.add_argument("--peer-python", type=Path, help="the Python whose llama-cpp-python is measured")
    options = parser.parse_args()
    mc = options.mc.resolve()
    parts = options.only or ["micro", *MODELS, "error"]
    here = machine()
    if options.simd and here["isa"] != options.simd:
        if not options.peer_python:
            raise SystemExit("peers: --simd needs --peer-python with a llama-cpp-python built for that instruction set")
        here["isa"], here["forced_on"] = f"{options.simd}-forced", here["isa"]
        FORCED.update(MC_SIMD=options.simd, OPENBLAS_CORETYPE="Haswell")
    python = options.peer_python or peer_python()
    if not has_peer(python):
        raise SystemExit(f"peers: {python} has no llama-cpp-python")
    file = ROOT / "docs" / "verified" / f"cpu-{here['isa']}.json"
    record = json.loads(file.read_text()) if file.exists() else {}
    if record.get("machine") != here:
        record = {"schema": "mc.peers/1", "machine": here}
    record["peer"] = run_json([python, HERE / "peer_llama_cpp.py", "info"])
    for threads in map(int, options.threads.split(",")):
        if threads > here["cores"]:
            say(f"peers: {threads} threads are more than the {here['cores']} cores here: left out")
            continue
        if "micro" in parts:
            record.setdefault("micro", {})[str(threads)] = measure_micro(mc, threads, options.runs)
        for name in MODELS:
            if name in parts:
                figures = measure_model(mc, python, (options.models / f"{name}.gguf").resolve(), threads, options)
                record.setdefault("models", {}).setdefault(name, {})[str(threads)] = figures
    if "error" in parts:
        record["error"] = {name: measure_error(mc, python, (options.models / f"{name}.gguf").resolve()) for name in MODELS}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record, indent=1) + "\n")
    section = report.section(record)
    report.replace_section(ROOT / "docs" / "benchmarks.md", here["isa"], section)
    print(section)


if __name__ == "__main__":
    main()
