"""The stubs of the extension say what it has, and mypy knows the package from them."""
from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import modelcypher as mc
from modelcypher import _mc
from package_under_test import ROOT

PACKAGE = ROOT / "python"
STUB = ast.parse((PACKAGE / "modelcypher/_mc.pyi").read_text("utf-8"))
OF_OBJECT = set(dir(object)) | {"__module__", "__doc__", "__weakref__", "__release_buffer__"}


def stubbed(body):
    functions = {n.name: n for n in body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    return functions | {n.target.id: n for n in body if isinstance(n, ast.AnnAssign)}


def parameters(function):
    a = function.args
    names = [x.arg for x in a.posonlyargs + a.args]
    return names + ["*" + x.arg for x in [a.vararg] if x] + [x.arg for x in a.kwonlyargs]


def own_parameters(value):
    signature = getattr(value, "__nb_signature__", None)
    if signature is None:
        return [("*" if p.kind is p.VAR_POSITIONAL else "") + p.name for p in inspect.signature(value).parameters.values()]
    text = re.sub(r" = \\\d+", " = ...", signature[0][0])
    return parameters(ast.parse(text + ": ...").body[0])


def differs(where, stub, value):
    if not isinstance(stub, ast.FunctionDef) or isinstance(value, property):
        return []
    said, own = parameters(stub), own_parameters(value)
    by_name = [len(said), *said[1:]] == [len(own), *own[1:]] or said == own
    return [] if by_name else [f"{where}: the stub has {said}, the extension {own}"]


def test_the_stub_names_what_the_extension_has():
    said = {n for n in stubbed(STUB.body) if n not in ("_HasArray", "_HasDLPack", "_bool", "ArrayLike")}
    own = {n for n in vars(_mc) if not n.startswith("__")}
    assert said == own


@pytest.mark.parametrize("name", ["Array", "Device", "Dtype", "device_scope", "Model", "Generation", "Samples", "Compiled"])
def test_classes(name):
    members = stubbed(stubbed(STUB.body)[name].body)
    own = {n: v for n, v in vars(getattr(_mc, name)).items() if n not in OF_OBJECT or n in members}
    assert set(members) - set(vars(getattr(_mc, name))) <= {"__buffer__"}  # a slot that Python names from 3.12 on
    assert set(own) - set(members) == set()
    bad = [d for n, v in own.items() if not n.startswith("__") for d in differs(f"{name}.{n}", members[n], v)]
    assert bad == []


def test_functions_have_the_parameters_of_the_stub():
    functions = stubbed(STUB.body)
    named = {n: v for n, v in vars(_mc).items() if not n.startswith("__") and isinstance(functions[n], ast.FunctionDef)}
    assert len(named) > 150
    assert [d for n, v in named.items() for d in differs(n, functions[n], v)] == []


def mypy(program):
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--cache-dir", os.devnull, program]
    return subprocess.run(command, env=os.environ | {"MYPYPATH": str(PACKAGE)}, capture_output=True, text=True, timeout=120)


def test_a_program_passes_mypy():
    r = mypy(Path(__file__).parent / "data/typed_program.py")
    assert r.returncode == 0, r.stdout + r.stderr


def test_mistakes_are_found(tmp_path):
    mistakes = ['mc.add("one", 1)', "mc.sum(1).nosuch", "mc.load(5)", "n: int = mc.array([1]).shape", "mc.nosuch"]
    (tmp_path / "bad.py").write_text("import modelcypher as mc\n" + "\n".join(mistakes) + "\n")
    r = mypy(tmp_path / "bad.py")
    assert sorted({int(x) for x in re.findall(r"bad\.py:(\d+): error", r.stdout)}) == [2, 3, 4, 5, 6], r.stdout + r.stderr


def test_every_public_name_is_there():
    assert [n for n in mc.__all__ if not hasattr(mc, n)] == []
    later = set(mc._LATER) | {"bool"}
    shown = {n for n in dir(mc) if not n.startswith("_") and n != "isdtype_kinds"}
    assert shown - set(mc.__all__) - later == set()
