"""The stored goldens are what the reference says today (a short text each; the whole set takes minutes)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from reference import load
from reference.layers import causal_mask, grouped_attention, rotate_halves, rotate_interleaved

HERE = Path(__file__).parent
MODELS = Path(os.environ.get("MC_MODELS", HERE.parents[1] / "models"))


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_goldens_are_the_references(name):
    path = MODELS / f"{name}.gguf"
    if not path.exists():
        pytest.fail(f"{path} is not there: ./dev demo fetches it, or set MC_MODELS")
    golden = json.loads((HERE / "models" / f"{name}.json").read_text())
    model = load(path)
    case = next(case for case in golden["scored"] if case["name"] == "prose")
    np.testing.assert_allclose(model.token_logprobs(case["ids"])[1:], case["logprobs"][1:], atol=1e-6)
    capture = golden["capture"]
    _, kept = model.residual(capture["ids"], capture["layers"])
    expected = np.load(HERE / "models" / capture["file"])
    # stored as float32: half a unit in the last place
    np.testing.assert_allclose(np.stack([kept[layer] for layer in capture["layers"]]), expected, rtol=6e-8)


def test_rotations_depend_on_distance_only():
    rng = np.random.default_rng(1)
    q, k = rng.standard_normal((2, 1, 1, 8))
    pair = np.array([0.7, 0.1, 0.02, 0.003])
    for rotate in (rotate_interleaved, rotate_halves):
        near = rotate(q, 5 * pair[None]) @ rotate(k, 3 * pair[None]).transpose(0, 2, 1)
        far = rotate(q, 105 * pair[None]) @ rotate(k, 103 * pair[None]).transpose(0, 2, 1)
        np.testing.assert_allclose(near, far, rtol=1e-12)
        assert abs(near - q @ k.transpose(0, 2, 1)).max() > 1e-3


def test_window_hides_old_keys():
    mask = causal_mask(6, 3)
    assert [int(row.sum()) for row in mask] == [1, 2, 3, 3, 3, 3]
    rng = np.random.default_rng(2)
    q, k, v = rng.standard_normal((3, 2, 6, 4))
    changed = v.copy()
    changed[:, 0] += 100
    before, after = (grouped_attention(q, k, values, 0.5, mask) for values in (v, changed))
    np.testing.assert_array_equal(before[:, 3:], after[:, 3:])
    assert (before[:, :3] != after[:, :3]).all()
