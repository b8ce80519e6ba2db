"""Spelling, format, Python and clang-tidy, cheapest first; goes on after a failure and tells all.

usage: check_style.py [--full] [--fix]
  --full  clang-tidy on every source file, not only on those that differ from the main branch
  --fix   let clang-format and codespell mend what they can
"""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

import ours

# Words of ours that codespell takes for mistakes.
WORDS = "nd,ans,ba,fro,hist,nam,varn,kinf"
BUILD = ours.ROOT / "build/release"


def run(title: str, command: list[str]) -> bool:
    print(f"== {title}", file=sys.stderr, flush=True)
    if shutil.which(command[0]) is None:
        print(f"{command[0]} is not installed", file=sys.stderr)
        return False
    return subprocess.run(command, cwd=ours.ROOT, stdin=subprocess.DEVNULL).returncode == 0


def spelling(names: list[str], fix: bool) -> bool:
    text = [n for n in names if (ours.is_code(n) or n.endswith((".md", ".txt"))) and not n.startswith("tests/golden/")]
    return run("spelling", ["codespell", "-L", WORDS, *(["-w"] if fix else []), *text])


def clang_format(names: list[str], fix: bool) -> bool:
    sources = [n for n in names if PurePosixPath(n).suffix in {".h", ".cpp", ".cu", ".cuh"}]
    return not sources or run("format", ["clang-format", *(["-i"] if fix else ["--dry-run", "--Werror"]), *sources])


def python(names: list[str]) -> bool:
    scripts = [n for n in names if n.endswith(".py")]
    ok = run("python", [sys.executable, "-m", "compileall", "-q", *scripts])
    return run("ruff", [str(PurePosixPath(sys.executable).parent / "ruff"), "check", "--quiet", *scripts]) and ok


def clang_tidy(names: list[str]) -> bool:
    sources = [n for n in names if n.endswith(".cpp")]
    if not sources:
        return True
    print(f"== clang-tidy ({len(sources)} files)", file=sys.stderr, flush=True)
    if not (BUILD / "compile_commands.json").is_file():
        subprocess.run(["cmake", "--preset", "release"], cwd=ours.ROOT, check=True, stdout=subprocess.DEVNULL)
    known = (BUILD / "compile_commands.json").read_text()
    sources = [n for n in sources if str(ours.ROOT / n) in known]

    def one(name: str) -> tuple[str, int, str]:
        command = ["clang-tidy", "--quiet", "--extra-arg=-Wno-unknown-warning-option",
                   "--extra-arg=-Wno-deprecated-declarations",  # get_temporary_buffer inside libstdc++ 12's stable_sort
                   "-p", str(BUILD), name]
        r = subprocess.run(command, cwd=ours.ROOT, capture_output=True, text=True)
        return name, r.returncode, r.stdout + "".join(
            line for line in r.stderr.splitlines(True) if not re.match(r"\d+ warnings? ", line))

    ok = True
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for name, code, text in pool.map(one, sources):
            if code != 0:
                ok = False
                print(f"{name}:\n{text}", file=sys.stderr, flush=True)
    return ok


def main() -> int:
    args = sys.argv[1:]
    if set(args) - {"--full", "--fix"}:
        raise SystemExit(__doc__)
    names = ours.files()
    results = [spelling(names, "--fix" in args), clang_format(names, "--fix" in args), python(names),
               clang_tidy(names if "--full" in args else ours.changed())]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
