from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from package_under_test import BUILD, BUILT, ROOT, engines

os.environ.pop("MC_BACKEND", None)
os.environ["MODELCYPHER_BACKEND"] = "numpy"
if BUILT:
    sys.path.insert(0, str(BUILD))
collect_ignore_glob = [] if BUILT else ["test_*.py"]  # this build has no Python package: CMake says why


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


@pytest.fixture(params=engines())
def backend(request):
    from modelcypher.backends import get_backend

    return get_backend(request.param)
