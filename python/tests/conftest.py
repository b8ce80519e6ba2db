"""The package of the build: MC_PYTHONPATH, else beside MC_BIN, else build/release/python."""
from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("MC_PYTHONPATH") or (
    Path(os.environ["MC_BIN"]).resolve().parent.parent / "python" if "MC_BIN" in os.environ else ROOT / "build/release/python"))
for variable in ("MODELCYPHER_BACKEND", "MC_BACKEND"):
    os.environ.pop(variable, None)
os.environ["MODELCYPHER_BACKEND"] = "numpy"
built = any((BUILD / "modelcypher").glob("_mc.*so"))
if built:
    sys.path.insert(0, str(BUILD))
collect_ignore_glob = [] if built else ["test_*.py"]  # this build has no Python package: CMake says why


@pytest.fixture(scope="session")
def build_path() -> Path:
    return BUILD


@pytest.fixture(scope="session")
def model():
    import modelcypher as mc

    path = Path(os.environ.get("MC_MODELS") or ROOT / "models") / "smollm2.gguf"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return mc.load(path)


def engines() -> list[str]:
    if not built:
        return []
    import modelcypher as mc

    return [s["name"] for s in mc.backend_status() if s["available"]]


@pytest.fixture(params=engines())
def backend(request):
    from modelcypher.backends import get_backend

    return get_backend(request.param)
