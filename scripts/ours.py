"""Which files are ours: tracked by git or about to be, third party's and data left out."""
from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(os.environ.get("MC_CHECK_ROOT") or Path(__file__).resolve().parent.parent)
CPP = {".h", ".cpp", ".def", ".cu", ".cuh", ".inc"}
CODE = CPP | {".py", ".sh", ".cmake"}
NOT_OURS = {".git", ".venv", ".venv-peers", ".cache", "build", "models"}


def git(*args: str) -> str:
    """What git prints, or "" where it fails. A clone may belong to another user (containers)."""
    r = subprocess.run(["git", "-c", "safe.directory=*", "-C", str(ROOT), *args], capture_output=True)
    return r.stdout.decode() if r.returncode == 0 else ""


def files() -> list[str]:
    """Paths relative to ROOT, with '/', of tracked files and of new ones that git does not ignore."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    if listed == [""]:  # an unpacked archive
        listed = [p.relative_to(ROOT).as_posix() for p in ROOT.rglob("*") if p.relative_to(ROOT).parts[0] not in NOT_OURS]
    names = sorted({n for n in listed if n and not n.startswith("third_party/")})
    return [n for n in names if (ROOT / n).is_file()]


def is_code(name: str) -> bool:
    path = Path(name)
    return path.suffix in CODE or path.name in {"CMakeLists.txt", "dev"}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8", errors="replace")


def changed() -> list[str]:
    """Files that differ from the main branch (or, on it, from the last commit), committed or not."""
    base = ""
    for name in ("origin/main", "main"):
        base = git("merge-base", "HEAD", name).strip()
        if base:
            break
    if not base or base == git("rev-parse", "HEAD").strip():
        base = git("rev-parse", "--verify", "-q", "HEAD~1").strip() or "HEAD"
    names = set(git("diff", "--name-only", "-z", base).split("\0"))
    names |= set(git("ls-files", "-z", "--others", "--exclude-standard").split("\0"))
    return [n for n in files() if n in names]
