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


def main():
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 2048
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((size, size), dtype=np.float32) for _ in range(2))
    product = np.empty_like(a)
    matmul = best(lambda: np.matmul(a, b, out=product), 1.0)
    source = np.ones(1 << 26, np.float32)
    target = np.zeros_like(source)
    copy = best(lambda: np.copyto(target, source), 0.5)
    print(json.dumps({"matmul_gflops": 2 * size**3 / matmul / 1e9, "copy_gb_s": 2 * source.nbytes / copy / 1e9}))


if __name__ == "__main__":
    main()
