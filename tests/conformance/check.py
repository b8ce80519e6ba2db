"""Checks an engine against NumPy and SciPy in float64.

    python check.py MC_CONFORMANCE [--backend ENGINE] [--filter TEXT] [--seed N] [--skips FILE] [-v]

Runs the program mc_conformance, which makes all cases from the table of primitives, evaluates them on the engine and
tests what needs no oracle (gradients, batching, compilation, donation, guard bytes). Then computes each case's oracle
here and compares. The bound of a case with constant c (docs/contract.md, "Agreement"):

    |got - want| <= c·eps·(|want| + cond)

eps is that of the result's dtype; cond is the largest change of the oracle, in units of the perturbation, over random
relative perturbations of its inputs times the root of the number of inputs per output: what the conditioning of the
expression makes of one rounding in each input. c = 0 asks for the same bits.

Exit status: 0 all passed, 3 a case failed or a skip file is not true, 2 usage.
"""

import argparse
import fnmatch
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import oracles  # noqa: E402

PERTURBATIONS = 5
DELTA = 2.0**-26


def bf16_to_f32(words):
    return (words.astype(np.uint32) << 16).view(np.float32)


def to_bf16(values):
    """Doubles to bfloat16, rounded once, to nearest even; as float32."""
    v = np.asarray(values, np.float64)
    with np.errstate(all="ignore"):
        m, e = np.frexp(v)
        e = np.maximum(e, -125)  # subnormals have fewer bits
        scale = np.ldexp(1.0, 8 - e)
        out = np.rint(v * scale) / scale
        out = np.where(np.abs(out) > 3.3895313892515355e38, np.copysign(np.inf, v), out)
        out = np.where(np.isfinite(v), out, v)
    return out.astype(np.float32)


EPS = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23, "float64": 2.0**-52}
EPS |= {"complex64": EPS["float32"], "complex128": EPS["float64"]}
TINY = {"bfloat16": 2.0**-133, "float16": 2.0**-24, "float32": 2.0**-149, "float64": 5e-324}
TINY |= {"complex64": TINY["float32"], "complex128": TINY["float64"]}


NORMAL = {"bfloat16": 2.0**-126, "float16": 2.0**-14, "float32": 2.0**-126, "float64": 2.0**-1022}
NORMAL |= {"complex64": NORMAL["float32"], "complex128": NORMAL["float64"]}


def flushed(a, dtype):
    """What an engine sees of an input that takes subnormal numbers for zeros."""
    if dtype not in NORMAL or a.dtype.kind == "c":
        return a
    return np.where(np.abs(a) < NORMAL[dtype], np.copysign(0.0, a), a)


def read(data, entry):
    """An array of the dump: (raw as NumPy has it, bfloat16 widened to float32)."""
    dtype, shape, at = entry
    stored = np.dtype("uint16" if dtype == "bfloat16" else dtype)
    n = int(np.prod(shape, dtype=np.int64))
    a = np.frombuffer(data, stored, n, at).reshape(shape)
    return bf16_to_f32(a) if dtype == "bfloat16" else a


def widened(a):
    """What the oracle computes with: float64 and complex128; integers and bool as they are."""
    if a.dtype.kind == "f":
        return a.astype(np.float64)
    if a.dtype.kind == "c":
        return a.astype(np.complex128)
    return a


def as_tuple(x):
    return x if isinstance(x, tuple) else (x,)


def evaluate(code, inputs):
    names = {f"in{i}": a for i, a in enumerate(inputs)}
    with np.errstate(all="ignore"):
        return as_tuple(eval(code, oracles.NAMES, names))  # noqa: S307 our own table


def condition(code, inputs, want, rng):
    """The largest change of each output under random relative perturbations of the inexact inputs, over DELTA."""
    out = [np.zeros(np.shape(w)) for w in want]
    oracles.smooth(True)
    try:
        return perturbed(code, inputs, out, rng)
    finally:
        oracles.smooth(False)


def perturbed(code, inputs, out, rng):
    moving = [i for i, a in enumerate(inputs) if a.dtype.kind in "fc" and a.size]
    if not moving:
        return out
    base = evaluate(code, inputs)
    for _ in range(PERTURBATIONS):
        moved = list(inputs)
        for i in moving:
            with np.errstate(all="ignore"):
                moved[i] = inputs[i] * (1 + DELTA * rng.choice((-1.0, 1.0), inputs[i].shape))
        for o, y in enumerate(evaluate(code, moved)):
            with np.errstate(all="ignore"):
                change = np.abs(np.asarray(y) - base[o]) / DELTA
            out[o] = np.maximum(out[o], np.where(np.isfinite(change), change, 0))
    return out


def rounded(want, dtype):
    """The oracle in the result's dtype (bfloat16 as float32), rounded once."""
    want = np.asarray(want)
    with np.errstate(all="ignore"):
        if dtype == "bfloat16":
            return to_bf16(want)
        if dtype == "bool":
            return want != 0
        if np.dtype(dtype).kind in "iu" and want.dtype.kind == "f":
            return want.astype(np.int64).astype(dtype)
        if np.dtype(dtype).kind == "f" and want.dtype.kind == "c":
            return want.real.astype(dtype)
        return want.astype(dtype)


def same(got, want):
    """Equal, NaN to NaN; zeros of both signs are equal. What of a complex number is not finite may be either part."""
    with np.errstate(all="ignore"):
        if got.dtype.kind == "c":
            return (got == want) | (~np.isfinite(got) & ~np.isfinite(want))
        return (got == want) | ((got != got) & (want != want))


def agree(got, want, dtype, c, cond, count, flush):
    target = rounded(want, dtype)
    ok = same(got, target)
    if np.dtype("float32" if dtype == "bfloat16" else dtype).kind in "fc" and (c > 0 or flush):
        with np.errstate(all="ignore"):
            error = np.abs(widened(got).astype(np.clongdouble if got.dtype.kind == "c" else np.longdouble) - want)
            ratio = np.sqrt(max(1.0, count / max(1, got.size)))
            bound = c * EPS[dtype] * (np.abs(want) + cond * ratio) + c * TINY[dtype]
            ok |= error <= bound + (NORMAL[dtype] if flush else 0)
    return ok, target


def compare(got, want, dtype, c, cond, count, other=None):
    """None, or what is wrong with one output. `other`: what it would be with subnormal inputs taken for zeros."""
    want = np.asarray(want)
    if want.shape != got.shape:
        return f"shape {got.shape}, the oracle has {want.shape}"
    ok, target = agree(got, want, dtype, c, cond, count, other is not None)
    if other is not None and not ok.all():
        ok |= agree(got, np.asarray(other), dtype, c, cond, count, True)[0]
    if ok.all():
        return None
    at = np.unravel_index(np.argmin(ok), ok.shape)
    at = tuple(int(i) for i in at)
    wrong = int((~ok).sum())
    return f"{wrong} of {ok.size} wrong, first at {list(at)}: {got[at]!r}, the oracle gives {target[at]!r} ({np.asarray(want)[at]!r})"


class Checker:
    def __init__(self, seed, corrupt=0.0, flush=False):
        self.flush = flush
        self.compiled = {}
        self.seed = seed
        self.corrupt = corrupt
        self.corrupted = set()
        self.digest = hashlib.sha256()

    def check(self, case, data):
        source = case["oracle"]
        if source not in self.compiled:
            self.compiled[source] = compile(source, source, "eval")
        code = self.compiled[source]
        inputs = [widened(read(data, e)) for e in case["in"]]
        got = [read(data, e) for e in case["out"]]
        for g in got:  # which of the NaNs it is, is no part of the contract
            parts = np.stack([g.real, g.imag]) if g.dtype.kind == "c" else g
            with np.errstate(all="ignore"):
                parts = np.where(parts != parts, np.nan, parts).astype(parts.dtype) if parts.dtype.kind == "f" else parts
            self.digest.update(np.ascontiguousarray(parts).tobytes())
        want = evaluate(code, inputs)
        if len(want) == 1 and isinstance(want[0], oracles.Property):
            return want[0].check(got, max(EPS.get(e[0], 0.0) for e in case["out"]))
        if len(want) != len(got):
            return f"{len(got)} outputs, the oracle has {len(want)}"
        want = [np.asarray(w) for w in want]
        if self.corrupt and case["c"] > 0:
            for o, w in enumerate(want):
                if got[o].dtype.kind in "fc" and np.any(np.isfinite(w) & (w != 0)):
                    with np.errstate(all="ignore"):
                        got[o] = got[o] * (1 + self.corrupt * EPS[case["out"][o][0]])
                    self.corrupted.add(case["name"])
        other = [None] * len(want)
        if self.flush:
            other = evaluate(code, [flushed(a, e[0]) for a, e in zip(inputs, case["in"])])
        rng = np.random.default_rng(self.seed)
        c = case["c"]
        cond = condition(code, inputs, want, rng) if c > 0 else [0] * len(want)
        count = sum(a.size for a in inputs)
        for o, (g, w) in enumerate(zip(got, want)):
            wrong = compare(g, w, case["out"][o][0], c, cond[o], count, other[o])
            if wrong:
                return f"output {o}: {wrong}" if len(got) > 1 else wrong
        return None


def read_skips(path):
    """Lines 'PATTERN  reason' of cases that the engine can't pass; '#' begins a comment."""
    out = []
    for number, line in enumerate(pathlib.Path(path).read_text().splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        pattern, _, reason = line.partition(" ")
        if not reason.strip():
            sys.exit(f"{path}:{number}: an entry needs a reason")
        out.append((pattern, reason.strip()))
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("program")
    p.add_argument("--backend", default="numpy")
    p.add_argument("--filter", default="")
    p.add_argument("--mode", help="modes of mc_conformance, comma-separated (default: all)")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--skips", help="file of cases that the engine can't pass (default: skips/ENGINE.txt here, if any)")
    p.add_argument("--per-program", type=int, default=1, metavar="N", help="so many forward cases are one program")
    p.add_argument("--sample", type=int, default=1, metavar="K", help="every K-th case only")
    p.add_argument("--exact", action="store_true", help="compiled and donated results must have the bits of eager ones")
    p.add_argument("--corrupt", type=float, default=0, metavar="ULPS",
                   help="spoil every result by so many ulps first; prints how many cases noticed")
    p.add_argument("--sha256", action="store_true", help="print the SHA-256 of all results")
    a = p.parse_args()
    path = a.skips or pathlib.Path(__file__).parent / "skips" / f"{a.backend.partition(':')[0]}.txt"
    partial = a.filter or a.mode or a.sample > 1  # not every entry has its case
    skips = read_skips(path) if a.skips or pathlib.Path(path).exists() else []
    with tempfile.TemporaryDirectory() as dump:
        command = [a.program, "--backend", a.backend, "--filter", a.filter, "--seed", str(a.seed), "--dump", dump]
        command += ["--per-program", str(a.per_program), "--sample", str(a.sample)]
        command += ["--exact"] * a.exact + (["--mode", a.mode] if a.mode else [])
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode not in (0, 3):
            sys.exit(f"mc_conformance ended with {ran.returncode}:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
        failures = {}
        for line in ran.stdout.splitlines():
            if line.startswith("FAIL "):
                name, _, why = line[5:].partition("  ")
                failures[name] = why
        data = (pathlib.Path(dump) / "data.bin").read_bytes()
        checker, passed, seen = Checker(a.seed, a.corrupt, "are flushed to zero" in ran.stdout), 0, []
        for line in (pathlib.Path(dump) / "cases.jsonl").read_text().splitlines():
            case = json.loads(line)
            seen.append(case["name"])
            try:
                why = checker.check(case, data)
            except Exception as e:  # an oracle that can't be computed is a fault of the table
                why = f"the oracle {case['oracle']!r} fails: {type(e).__name__}: {e}"
            if why:
                failures[case["name"]] = why
            else:
                passed += 1
        if a.corrupt:
            noticed = sum(name in failures for name in checker.corrupted)
            print(f"corrupted {len(checker.corrupted)} cases by {a.corrupt} ulps, {noticed} were noticed")
            return 0
        if a.sha256:
            print("sha256", checker.digest.hexdigest())
    skipped, unused = 0, dict(skips)
    for name in list(failures):
        for pattern, _ in skips:
            if fnmatch.fnmatchcase(name, pattern):
                del failures[name]
                unused.pop(pattern, None)
                skipped += 1
                break
    for name, why in failures.items():
        print("FAIL", name, "", why)
    for pattern, reason in unused.items():
        if not partial:
            print(f"FAIL {path}: nothing fails that matches {pattern} ({reason}); remove the entry")
    lines = [line for line in ran.stdout.splitlines() if not line.startswith("FAIL ")]
    print("\n".join(lines))
    print(f"oracle: {passed} passed; {len(failures)} failed in all; {skipped} skipped by {len(skips)} entries")
    return 3 if failures or (unused and not partial) else 0


if __name__ == "__main__":
    sys.exit(main())
