"""What an engine with a GPU shows on this machine, written to docs/verified/DEVICE.json.

usage: gpu.py [--bin DIR] [--models DIR] [--engine cuda] [--out FILE] [--only conformance,bits,models] [--seconds N]
              [--per-program N [--sample K]]

  conformance  every case of the suite on the engine, beside NumPy and SciPy in float64, one process a dtype; with
               --per-program (engines that compile long) one a primitive, N cases a program, and of what can't share
               a program (gradients, batching, compiling, donating) every K-th case
  bits         quantized products at `fast`, decoded weights and random words: the bits of the host engine
  models       mc score and mc infer beside the host engine, mc bench, for each model found

Exit status: 0 all as it must be, 3 something is not, 2 usage.
"""
from __future__ import annotations

import argparse
import collections
import concurrent.futures
import datetime
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
DTYPES = "bool u8 u16 u32 u64 i8 i16 i32 i64 f16 bf16 f32 f64 c64 c128".split()
SAME_BITS = ["random_bits", "block_dequantize", "affine_dequantize", "affine_quantize", "quantized_take", "quantized_matmul"]
TEXT = ("The history of mathematics deals with the origin of discoveries in mathematics and the mathematical methods and "
        "notation of the past. Before the modern age and the worldwide spread of knowledge, written examples of new "
        "mathematical developments have come to light only in a few locales. From 3000 BC the Mesopotamian states of "
        "Sumer, Akkad and Assyria, followed closely by Ancient Egypt and the Levantine state of Ebla began using "
        "arithmetic, algebra and geometry for purposes of taxation, commerce, trade and also in the field of astronomy "
        "to record time and formulate calendars.")
# Of a log probability in float32 after some dozens of layers: a few ulps of a logit of some tens, amplified.
LOGPROB_BOUND = 5e-4
# rms in nats between two engines whose activations are bfloat16: what tests/models/test_score.py allows each of them
# against float32, for the model that is allowed less.
BF16_BOUND = 0.14


def run(*command, **more):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **more)


def conformance(a) -> dict:
    end = time.monotonic() + a.seconds

    def one(task):
        name, options = task
        if (left := end - time.monotonic()) < 5:
            return name, {}, 0, 0, 0, None
        try:
            r = run(sys.executable, ROOT / "tests/conformance/check.py", a.bin / "mc_conformance", "--backend", a.engine,
                    *options, timeout=left)
        except subprocess.TimeoutExpired:
            return name, {}, 0, 0, 0, None
        found = re.search(r"oracle: (\d+) passed; (\d+) failed in all; (\d+) skipped", r.stdout)
        counts = dict(re.findall(r"^(\w+): (\d+) passed", r.stdout, re.M))
        fails = re.findall(r"^FAIL .*", r.stdout, re.M)
        if not found:
            return name, counts, 0, 1, 0, [r.stdout[-300:] + r.stderr[-500:]]
        return name, counts, *(int(n) for n in found.groups()), fails

    tasks = [(d, ["--filter", f"/{d}/"]) for d in DTYPES]
    if a.per_program > 1:
        names = run(a.bin / "mc_conformance", "--list").stdout.split()
        sizes = collections.Counter("/".join(n.split("/")[:2]) for n in names)
        tasks = [(n, ["--filter", n + "/", "--per-program", str(a.per_program)] +
                  ([] if n.startswith(("fwd/", "dec/")) else ["--sample", str(a.sample)]))
                 for n, _ in sizes.most_common()]
    out = {"passed": {}, "compared_with_oracle": 0, "failed": 0, "skipped": 0, "not run in time": []}
    if a.sample > 1:
        out["vjp, vmap, compile, donate"] = f"every {a.sample}th case"
    with concurrent.futures.ThreadPoolExecutor(min(len(tasks), 16)) as pool:
        for name, counts, passed, failed, skipped, fails in pool.map(one, tasks):
            if fails is None:
                out["not run in time"].append(name)
                continue
            for mode, n in counts.items():
                if mode != "oracle":
                    out["passed"][mode] = out["passed"].get(mode, 0) + int(n)
            out["compared_with_oracle"] += passed
            out["failed"] += failed
            out["skipped"] += skipped
            for f in fails[:12]:
                print("  ", name, f[:300], file=sys.stderr)
    return out


def dump(a, engine, op, folder):
    folder.mkdir(parents=True)
    r = run(a.bin / "mc_conformance", "--backend", engine, "--mode", "fwd", "--filter", f"fwd/{op}/", "--dump", folder)
    if r.returncode:
        raise SystemExit(r.stdout[-800:] + r.stderr[-800:])
    data = (folder / "data.bin").read_bytes()
    cases = {}
    for line in (folder / "cases.jsonl").read_text().splitlines():
        c = json.loads(line)
        parts = []
        for dtype, shape, at in c["out"]:
            size = {"bfloat16": 2, "bool": 1}.get(dtype) or np.dtype(dtype).itemsize
            parts.append((dtype, data[at:at + size * int(np.prod(shape, dtype=np.int64))]))
        cases[c["name"].split("@")[0]] = (c["oracle"], parts)
    return cases


def same(x, y):
    """Equal bytes; which NaN a NaN is does not count."""
    for (dtype, p), (_, q) in zip(x, y):
        if p == q:
            continue
        if dtype not in ("float16", "float32", "float64"):
            return False
        p, q = np.frombuffer(p, dtype), np.frombuffer(q, dtype)
        if not np.array_equal(p[~np.isnan(p)].view(f"u{p.itemsize}"), q[~np.isnan(q)].view(f"u{q.itemsize}")):
            return False
        if not np.array_equal(np.isnan(p), np.isnan(q)):
            return False
    return True


def bits(a) -> dict:
    out = {}
    with tempfile.TemporaryDirectory() as tmp:
        for op in SAME_BITS:
            host = dump(a, "numpy", op, pathlib.Path(tmp) / "host" / op)
            device = dump(a, a.engine, op, pathlib.Path(tmp) / "device" / op)
            names = [n for n in host if op != "quantized_matmul" or "int8_blocks" in host[n][0]]
            different = [n for n in names if not same(host[n][1], device[n][1])]
            label = "quantized_matmul at fast" if op == "quantized_matmul" else op
            out[label] = {"cases": len(names), "different": len(different)}
            for n in different[:5]:
                print("   other bits:", n, file=sys.stderr)
    return out


def models(a) -> dict:
    out = {}
    for path in sorted(a.models.glob("*.gguf")):
        here = out[path.stem] = {}

        def mc(*args, path=path):
            r = run(a.bin / "mc", *args, "--model", path, "--output", "json", "-q", timeout=a.seconds)
            if r.returncode:
                return {"error": r.stdout[-300:] + r.stderr[-300:]}
            return json.loads(r.stdout)

        for options in ([], ["--dtype", "bf16"]):
            host, device = (mc("score", "--text", TEXT, "--backend", e, *options) for e in ("numpy", a.engine))
            key = " ".join(options) or "f32"
            if "error" in host or "error" in device:
                here[f"score {key}"] = {"error": host.get("error") or device.get("error")}
                continue
            x, y = ([t["logprob"] for t in d["tokens"] if t.get("logprob") is not None] for d in (host, device))
            here[f"score {key}"] = {"tokens": len(x), "nll_host": host["nll"], "nll": device["nll"],
                                    "largest_logprob_difference": max(abs(p - q) for p, q in zip(x, y)),
                                    "rms_logprob_difference": float(np.sqrt(np.mean((np.array(x) - np.array(y)) ** 2)))}
        prompt = ("--prompt", "The capital of France is", "--max-tokens", "48")
        texts = [mc("infer", *prompt, "--backend", e).get("text") for e in ("numpy", a.engine)]
        here["same greedy text"] = texts[0] is not None and texts[0] == texts[1]
        for options in ([], ["--dtype", "bf16"], ["--precision", "fast"], ["--decode-context", "512"]):
            here[" ".join(["bench", *options])] = mc("bench", "--backend", a.engine, *options)
    return out


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin")
    p.add_argument("--models", type=pathlib.Path, default=ROOT / "models")
    p.add_argument("--engine", default="cuda")
    p.add_argument("--out", type=pathlib.Path)
    p.add_argument("--only", default="conformance,bits,models")
    p.add_argument("--seconds", type=int, default=600)
    p.add_argument("--per-program", type=int, default=1)
    p.add_argument("--sample", type=int, default=1)
    p.add_argument("--commit", help="of what is measured (default: this checkout's)")
    a = p.parse_args()
    doctor = run(a.bin / "mc", "doctor").stdout
    device = re.search(rf"engine {a.engine} +gpu: (.*)", doctor)
    if not device:
        told = "\n".join(x for x in doctor.splitlines() if a.engine in x or "next" in x)
        print(f"gpu: no GPU answers the engine {a.engine}:\n{told}", file=sys.stderr)
        return 3
    commit = a.commit
    if not commit:
        dirty = " with changes" if run("git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no").stdout.strip() else ""
        commit = run("git", "-C", ROOT, "rev-parse", "--short=12", "HEAD").stdout.strip() + dirty
    name = device[1].split(",")[0]
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower().replace("nvidia", "")).strip("-")
    file = a.out or ROOT / "docs/verified" / f"{a.engine}-{slug}.json"
    result = json.loads(file.read_text()) if file.exists() else {}
    result |= {"schema": "mc.gpu/1", "device": device[1], "engine": a.engine, "commit": commit,
               "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
               "driver": (re.search(r"driver +(.*)", doctor) or [None, None])[1]}
    bad = []
    if "conformance" in a.only:
        c = result["conformance"] = conformance(a)
        if c["failed"] or c["skipped"] or c["not run in time"]:
            bad.append(f"conformance: {c['failed']} failed, {c['skipped']} skipped, {len(c['not run in time'])} parts not in time")
    if "bits" in a.only:
        b = result["bits of the host engine"] = bits(a)
        bad += [f"{k}: {v['different']} of {v['cases']} differ" for k, v in b.items() if v["different"]]
    if "models" in a.only:
        m = result["models"] = models(a)
        for model, r in m.items():
            d = r["score f32"].get("largest_logprob_difference", float("inf"))
            if d > LOGPROB_BOUND:
                bad.append(f"{model}: log probabilities differ by {d}")
            rms = r["score --dtype bf16"].get("rms_logprob_difference", float("inf"))
            if rms > BF16_BOUND:
                bad.append(f"{model}: log probabilities of bfloat16 differ by {rms} rms")
            if not r["same greedy text"]:
                bad.append(f"{model}: another greedy text")
    result["not as it must be"] = bad
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=None)[:6000])
    for b in bad:
        print("gpu: " + b, file=sys.stderr)
    return 3 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
