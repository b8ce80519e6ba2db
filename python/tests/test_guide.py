"""Every Python snippet of the guide, as it stands there, on every engine that is present."""
from __future__ import annotations

import re

import numpy as np
import pytest
from package_under_test import ROOT, engines

GUIDE = (ROOT / "python/tests/data/backend-comparison-guide.md").read_text("utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", GUIDE, re.M | re.S)


def test_all_are_found():
    assert len(SNIPPETS) == 7 == GUIDE.count("```python")


def names(backend):
    """What the guide takes for granted."""
    rng = np.random.default_rng(0)
    return {"backend": backend, "a": backend.array(rng.standard_normal((3, 4)).astype(np.float32)),
            "b": backend.array(rng.standard_normal((4, 2)).astype(np.float32)), "logits": backend.array([0.1, 0.2, 3.0])}  # fmt: skip


@pytest.mark.parametrize("number", range(7))
def test_snippet(backend, number, monkeypatch):
    code = SNIPPETS[number]
    scope = names(backend)
    if "@jax" in code:
        scope["jax"] = pytest.importorskip("jax")
    if "MODELCYPHER_BACKEND" in code:
        pytest.skip("test_selecting_at_run_time")
    exec(compile(code, f"guide, snippet {number}", "exec"), scope)
    if "samples" in scope:
        assert scope["samples"].shape == (10,)
    if "compute" in scope:
        a, b = backend.to_numpy(scope["a"]), backend.to_numpy(scope["b"])
        np.testing.assert_allclose(np.asarray(scope["compute"](a, b)), a @ b, rtol=1e-5)
    if "numpy_array" in scope:
        assert isinstance(scope["numpy_array"], np.ndarray) and scope["tensor"].device == backend.device
    if "result" in scope:
        assert scope["result"].is_evaluated or "backend.eval()" in code
    if "c" in scope:
        assert scope["c"].is_evaluated and backend.to_numpy(scope["c"]).max() == 0


@pytest.mark.parametrize("wanted", ["cuda", "jax", "mlx"])
def test_selecting_at_run_time(wanted, monkeypatch):
    [code] = [s for s in SNIPPETS if "MODELCYPHER_BACKEND" in s]
    if wanted == "mlx":
        monkeypatch.delenv("MODELCYPHER_BACKEND", raising=False)
    else:
        monkeypatch.setenv("MODELCYPHER_BACKEND", wanted)
    scope: dict = {}
    if wanted in engines():
        exec(code, scope)
        assert scope["backend"].name == wanted
    else:
        with pytest.raises(ImportError, match="is required for the"):
            exec(code, scope)
