"""Checks who may include whom, and that only an engine's own folder names the engine.

- base <- core <- prims <- transforms <- runtime <- backends/*: a layer includes itself and what stands before it.
- An engine never includes another one.
- io, text, quant, nn, models, generate, probe ... and tools/ include public headers ("mc/..."), their own folder's and
  third parties', as an outside user would. Public headers include public headers.
- In code (comments and docs excepted) nothing outside src/backends/X and cmake/engines.cmake names the engine X.

Tests, benchmarks and Python may name engines and look inside.
"""
from __future__ import annotations

import re
import sys
from pathlib import PurePosixPath

import ours

LAYERS = ["base", "core", "prims", "transforms", "runtime"]
ENGINES = ["numpy", "cuda", "jax", "mlx"]
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
PACKAGE = re.compile(r"(jax-|xla_|xla_gpu_)cuda[\w-]*(\[with-cuda\])?")  # plugins for XLA and its flags are named so
TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<d>[^()\s\\]{0,16})\(.*?\)(?P=d)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def strip_comments(text: str) -> str:
    """C++ without comments; strings and line numbers stay."""
    def keep(m: re.Match[str]) -> str:
        s = m.group(0)
        return "\n" * s.count("\n") if s.startswith(("//", "/*")) else s
    # A digit separator (1'000) must not open a character literal.
    return TOKEN.sub(keep, re.sub(r"(?<=[0-9a-fA-F])'(?=[0-9a-fA-F])", "", text))


def place(name: str) -> tuple[str, str]:
    """(kind, part) of a file: ('layer', 'core'), ('engine', 'cuda'), ('user', 'models'), ('tool', ...), ('public', '')."""
    parts = PurePosixPath(name).parts
    if parts[0] == "include":
        return "public", ""
    if parts[0] == "tools":
        return "tool", "/".join(parts[:2])
    if parts[0] != "src" or len(parts) < 3:
        return "", ""
    if parts[1] == "backends":
        return "engine", parts[2]
    return ("layer" if parts[1] in LAYERS else "user"), parts[1]


def include_fault(name: str, included: str, tree: set[str]) -> str | None:
    """Why `name` must not include "included" (a path of this repository), or None."""
    kind, part = place(name)
    if included.startswith("mc/"):
        return None
    folder = str(PurePosixPath(name).parent)
    if f"src/{included}" in tree:
        target = f"src/{included}"
    elif f"{folder}/{included}" in tree:
        target = f"{folder}/{included}"
    elif kind == "user" and f"src/{part}/{included}" in tree:
        target = f"src/{part}/{included}"
    elif kind == "tool" and f"{part}/{included}" in tree:
        target = f"{part}/{included}"
    else:
        return None  # third party's, or made by the build
    to_kind, to_part = place(target)
    if kind == "public":
        return 'a public header includes "mc/..." only'
    if (to_kind, to_part) == (kind, part):
        return None
    if kind in ("user", "tool"):
        return f'{part} sees "mc/..." and its own folder only, as an outside user would'
    if to_kind == "engine":
        return "no layer includes an engine" if kind == "layer" else f"engine {part} includes engine {to_part}"
    if to_kind != "layer":
        return f"{to_part} stands above {part}"
    if kind == "layer" and LAYERS.index(to_part) > LAYERS.index(part):
        return f"{to_part} stands above {part} ({' <- '.join(LAYERS)})"
    return None


def line_of(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def check_file(name: str, text: str, tree: set[str]) -> list[str]:
    faults = []
    code = strip_comments(text) if PurePosixPath(name).suffix in ours.CPP else re.sub(r"#[^\n]*", "", text)
    if place(name)[0] and PurePosixPath(name).suffix in ours.CPP:
        for m in INCLUDE.finditer(code):
            if why := include_fault(name, m.group(2), tree):
                faults.append(f"{name}:{line_of(code, m.start())}: includes {m.group(2)}: {why}")
    if name != "cmake/engines.cmake":
        code = PACKAGE.sub("", code)
        for engine in ENGINES:
            if name.startswith(f"src/backends/{engine}/"):
                continue
            for m in re.finditer(engine, code, re.I):
                faults.append(f"{name}:{line_of(code, m.start())}: names the engine {engine} outside its folder")
    return faults


def main() -> int:
    names = ours.files()
    tree = set(names)
    faults = []
    for name in names:
        in_scope = name.startswith(("src/", "include/", "tools/")) and PurePosixPath(name).suffix in ours.CPP
        if in_scope or name == "CMakeLists.txt" or name.startswith("cmake/"):
            faults += check_file(name, ours.read(name), tree)
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
