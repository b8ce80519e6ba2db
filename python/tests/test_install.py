"""pip install and find_package, each as a user would do it. Minutes: with MC_TEST_FULL=1 only."""
from __future__ import annotations

import os
import subprocess
import sys

import pytest
from package_under_test import ROOT

pytestmark = pytest.mark.skipif(os.environ.get("MC_TEST_FULL") != "1", reason="builds everything anew: MC_TEST_FULL=1")


def run(*command, cwd=None):
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    r = subprocess.run([str(c) for c in command], cwd=cwd, env=env, capture_output=True, text=True, timeout=3000)
    assert r.returncode == 0, r.stdout[-3000:] + r.stderr[-3000:]
    return r.stdout.strip()


def test_pip_install(tmp_path):
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    run(python, "-m", "pip", "install", ROOT)
    assert run(python, "-c", "import modelcypher as mc; print(mc.array([1, 2, 3]) + 1)", cwd=tmp_path) == "[2, 3, 4]"
    assert run(tmp_path / "venv/bin/mc", "--version").startswith("mc 0.1")
    assert run(python, "-c", "from modelcypher.backends.numpy_backend import NumPyBackend as B; b = B(); print(b.det(b.eye(2)))") == "1"


def test_find_package(tmp_path, build_path):
    run("cmake", "--install", build_path.parent, "--prefix", tmp_path / "prefix")
    source = tmp_path / "project"
    source.mkdir()
    (source / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.22)\nproject(outside CXX)\nfind_package(modelcypher 0.1 REQUIRED)\n"
        "add_executable(outside main.cpp)\ntarget_link_libraries(outside PRIVATE modelcypher::modelcypher)\n")
    (source / "main.cpp").write_text(
        '#include "mc/mc.h"\n#include <cstdio>\n'
        'int main() { std::printf("%g\\n", mc::sum(mc::ones({3}) + 1).item<double>()); }\n')
    run("cmake", "-S", source, "-B", source / "build", f"-DCMAKE_PREFIX_PATH={tmp_path / 'prefix'}")
    run("cmake", "--build", source / "build")
    assert run(source / "build/outside") == "6"
