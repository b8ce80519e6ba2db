"""Times the measures of `mc probe` beside NumPy, scikit-learn and scikit-dimension, in one run.

usage: probe_peers.py MC [--runs N]      (packages: numpy scipy scikit-learn scikit-dimension; what is missing is left out)
"""
from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np


def median_of(runs, once):
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        once()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:]), min(times[1:]), max(times[1:])


def numpy_cka(path):
    """What a careful user writes: a Gram a layer, centred, all pairs by one product. Reads the file, as mc does."""
    layers = list(np.load(path).values())
    n = len(layers[0])
    rows = []
    for x in layers:
        x = x - x.mean(0)
        k = x @ x.T
        np.fill_diagonal(k, 0)
        r = k.sum(0) / (n - 2)
        a = k - r[:, None] - r[None, :] + k.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(a, 0)
        rows.append(a.ravel())
    s = np.stack(rows)
    h = s @ s.T
    return h / np.sqrt(np.outer(np.diag(h), np.diag(h)))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("mc")
    p.add_argument("--runs", type=int, default=3)
    args = p.parse_args()
    rng = np.random.default_rng(0)
    table = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        base = rng.normal(size=(2000, 576)).astype(np.float32)
        layers = [(base + 0.1 * i * rng.normal(size=base.shape)).astype(np.float32) for i in range(30)]
        np.savez(folder / "layers.npz", **{f"l{i}": x for i, x in enumerate(layers)})
        points = rng.normal(size=(10000, 576)).astype(np.float32)
        np.save(folder / "points.npy", points)

        def mc(*command):
            return lambda: subprocess.run([args.mc, "probe", *map(str, command), "--output", "json", "--quiet"], check=True,
                                          stdout=subprocess.DEVNULL)  # fmt: skip

        table.append(("CKA, 30 layers of 2,000 × 576", "mc probe cka", median_of(args.runs, mc("cka", folder / "layers.npz"))))
        table.append(("", "NumPy", median_of(args.runs, lambda: numpy_cka(folder / "layers.npz"))))
        table.append(("20 neighbours of 10,000 × 576", "mc probe neighbours", median_of(
            args.runs, mc("neighbours", folder / "points.npy", "--neighbours", 20))))
        try:
            from sklearn.neighbors import NearestNeighbors

            def neighbours(path):
                x = np.load(path)
                return NearestNeighbors(n_neighbors=21, algorithm="brute").fit(x).kneighbors(x)

            table.append(("", "scikit-learn, brute force", median_of(
                args.runs, lambda: neighbours(folder / "points.npy"))))
        except ImportError as e:
            table.append(("", f"scikit-learn: {e}", None))
        table.append(("dimension of 10,000 × 576", "mc probe dimension", median_of(
            args.runs, mc("dimension", folder / "points.npy", "--neighbours", 20))))
        try:
            import skdim

            table.append(("", "scikit-dimension, TwoNN", median_of(args.runs,
                lambda: skdim.id.TwoNN().fit(np.load(folder / "points.npy")))))
        except ImportError as e:
            table.append(("", f"scikit-dimension: {e}", None))
    for what, who, t in table:
        print(f"| {what} | {who} | " + (f"{t[0]:.2f} s ({t[1]:.2f} to {t[2]:.2f}) |" if t else "not there |"))
    print(json.dumps([{"what": w, "who": p, "seconds": t} for w, p, t in table]))


if __name__ == "__main__":
    main()
