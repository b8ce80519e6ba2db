"""pip install and find_package, each as a user would do it. Minutes: with MC_TEST_FULL=1 only."""
from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request

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
    run(python, "-m", "pip", "install", f"{ROOT}[mlx]")
    assert run(python, "-c", "import modelcypher as mc; print((mc.to_device(mc.ones(2), 'mlx') + 1).tolist())", cwd=tmp_path) == "[2.0, 2.0]"
    assert run(python, "-c", "import modelcypher as mc; print(mc.array([1, 2, 3]) + 1)", cwd=tmp_path) == "[2, 3, 4]"
    assert run(tmp_path / "venv/bin/mc", "--version").startswith("mc 0.1")
    assert run(python, "-c", "from modelcypher.backends.numpy_backend import NumPyBackend as B; b = B(); print(b.det(b.eye(2)))") == "1"


def test_poetry_install(tmp_path):
    """The guide's line in a clone, from an empty environment: the package, an engine's library and the command are there."""
    run("git", "clone", "-q", ROOT, tmp_path / "clone")
    run(sys.executable, "-m", "venv", tmp_path / "tool")
    run(tmp_path / "tool/bin/python", "-m", "pip", "install", "poetry==2.5.1")
    project = tmp_path / "clone/pyproject.toml"
    try:
        urllib.request.urlopen("https://pypi.org/pypi/numpy/2.4.6/json", timeout=20)
    except (urllib.error.HTTPError, OSError):  # a mirror that has the simple index only
        project.write_text(project.read_text() + '\n[[tool.poetry.source]]\nname = "simple"\nurl = "https://pypi.org/simple/"\npriority = "primary"\n')
    run(sys.executable, "-m", "venv", tmp_path / "clone/.venv")  # poetry takes the environment that lies there
    run(tmp_path / "tool/bin/poetry", "install", "-E", "jax", "-E", "mlx", "-n", cwd=tmp_path / "clone")
    python = tmp_path / "clone/.venv/bin/python"
    code = "import modelcypher as mc; print([mc.to_device(mc.array([1, 2]) + 1, e).tolist() for e in ('numpy', 'jax', 'mlx')])"
    assert run(python, "-c", code, cwd=tmp_path) == "[[2, 3], [2, 3], [2, 3]]"
    assert run(tmp_path / "clone/.venv/bin/mc", "--version").startswith("mc 0.1")
    assert run("git", "-C", tmp_path / "clone", "status", "--short", "--", "python") == ""  # what it lays there is ignored


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
