"""What this machine can do, by NumPy: OpenBLAS's matmul, copying, reading. One process (its threads are fixed by the environment).

ceilings.py [SIZE]     one line of JSON; the caller sets OPENBLAS_NUM_THREADS
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np


def best(function, seconds):
    """Shortest of as many runs as fit, at least three."""
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def memory_bound(rng):
    """The measures of mc_micro with these names, on the same sizes."""
    side = 8192
    x = rng.standard_normal((side, side), dtype=np.float32)
    half = x[: side // 2].copy()
    rows = rng.integers(0, side // 2, side)
    along = rng.integers(0, side, (side // 2, side))
    few = x.reshape(-1)[: 1 << 20].copy()
    target, joined = np.zeros_like(x), np.zeros((side // 2, 2 * side), np.float32)
    runs = {
        "sum_last_gb_s": (x.nbytes, lambda: x.sum(axis=1)),
        "sum_first_gb_s": (x.nbytes, lambda: x.sum(axis=0)),
        "sum_all_gb_s": (x.nbytes, lambda: x.sum()),
        "max_last_gb_s": (x.nbytes, lambda: x.max(axis=1)),
        "argmax_last_gb_s": (x.nbytes, lambda: x.argmax(axis=1)),
        "transpose_gb_s": (2 * x.nbytes, lambda: np.copyto(target, x.T)),
        "concatenate_gb_s": (2 * x.nbytes, lambda: np.concatenate([half, half], axis=1, out=joined)),
        "pad_gb_s": (2 * half.nbytes, lambda: np.pad(half, 1)),
        "take_rows_gb_s": (2 * x.nbytes, lambda: np.take(half, rows, axis=0, out=target)),
        "take_along_gb_s": (3 * half.nbytes, lambda: np.take_along_axis(half, along, axis=1)),
    }
    answer = {name: size / best(run, 0.3) / 1e9 for name, (size, run) in runs.items()}
    answer["sort_melements_s"] = few.size / best(lambda: np.sort(few), 0.3) / 1e6
    answer["argsort_melements_s"] = few.size / best(lambda: np.argsort(few, kind="stable"), 0.3) / 1e6
    return answer


def main():
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 2048
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((size, size), dtype=np.float32) for _ in range(2))
    product = np.empty_like(a)
    matmul = best(lambda: np.matmul(a, b, out=product), 1.0)
    source = np.ones(1 << 26, np.float32)
    target = np.zeros_like(source)
    copy = best(lambda: np.copyto(target, source), 0.5)
    answer = {"matmul_gflops": 2 * size**3 / matmul / 1e9, "copy_gb_s": 2 * source.nbytes / copy / 1e9}
    print(json.dumps(answer | memory_bound(rng)))


if __name__ == "__main__":
    main()
