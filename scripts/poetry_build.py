"""What `poetry install` runs (pyproject.toml, [tool.poetry.build]): its editable install does not call the build backend. Compiles
the library, the engines, `mc` and the extension, and lays them into python/modelcypher as a wheel would have them there."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / f"poetry-{sysconfig.get_platform()}-{sys.version_info.major}.{sys.version_info.minor}"
PACKAGE = ROOT / "python/modelcypher"
MADE = ("bin", "include", "lib", "share")


def main() -> None:
    if not (cmake := shutil.which("cmake")):
        raise SystemExit("poetry install: CMake 3.22 or later is needed\n  next: apt-get install cmake ninja-build g++, or the like")
    ninja = ["-G", "Ninja"] if shutil.which("ninja") else []
    options = {
        "CMAKE_BUILD_TYPE": "Release", "CMAKE_INSTALL_LIBDIR": "lib", "CMAKE_INSTALL_PREFIX": str(PACKAGE), "MC_BUILD_TESTS": "OFF",
        "MC_PYTHON": "ON", "Python_EXECUTABLE": sys.executable, "SKBUILD": "ON",
    }  # fmt: skip
    jobs = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2)
    subprocess.run([cmake, *ninja, "-S", ROOT, "-B", BUILD, *(f"-D{k}={v}" for k, v in options.items())], check=True)
    subprocess.run([cmake, "--build", BUILD, "--parallel", jobs], check=True)
    for name in MADE:
        shutil.rmtree(PACKAGE / name, ignore_errors=True)
    for old in PACKAGE.glob("_mc.*so"):
        old.unlink()
    subprocess.run([cmake, "--install", BUILD], check=True)


if __name__ == "__main__":
    main()
