"""What a capture holds is what the float64 NumPy reference computes there: every site, both real models."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import model_path
from test_capture import assert_close, read_capture, write_data
from test_capture_options import run_sites

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "golden"))

from reference import load  # noqa: E402

TEXTS = ["The painter found seven keys under the bridge.", "My sister wrote a long letter about rain."]
ONCE = ["embed", "final_norm", "logits"]
PER_HEAD = ["q", "k", "v", "heads"]
PLAIN = ["resid_pre", "attn_in", "attn_out", "mlp_in", "mlp_act", "mlp_out", "resid_post"]


@pytest.fixture(scope="module", params=["smollm2", "gemma3"])
def subject(request, mc):
    """A model's name, its reference, the ids of the texts, and {(site, block): values} of each text."""
    reference = load(model_path(request.param))
    ids, seen = [], []
    for text in TEXTS:
        told = mc("score", "--model", model_path(request.param), "--text", text, "--output", "json").json()
        ids.append([t["id"] for t in told["tokens"]])
        values = {}

        def keep(site, index, x, values=values):
            values[(site, index)] = x.copy()
            return x

        reference.visit = keep
        x, _ = reference.residual(ids[-1])
        reference.logits(x)
        seen.append(values)
    return request.param, reference, ids, seen


def by_token(x, site):
    """The reference has heads first, a capture tokens."""
    return x.transpose(1, 0, 2) if site in PER_HEAD else x


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_every_site_holds_the_reference_s_values(mc, subject, tmp_path, place):
    """gemma3's first blocks have sliding attention, its sixth (5) global; the last block is its last norm's neighbour."""
    name, reference, _, seen = subject
    layer = {"first": 0, "middle": 5, "last": reference.blocks - 1}[place]
    sites = [f"{s}.{layer}" for s in PLAIN + PER_HEAD] + (ONCE if place == "last" else [])
    data = write_data(tmp_path / "data.jsonl", TEXTS)
    assert run_sites(mc, data, tmp_path / "out", ",".join(sites), name=name).code == 0
    manifest, tensors, _ = read_capture(tmp_path / "out")
    told = {s["name"]: tensors[s["tensor"]] for s in manifest["sites"]}
    assert sorted(told) == sorted(sites)
    for full in sites:
        site, _, index = full.partition(".")
        want = np.concatenate([by_token(s[(site, int(index or 0))], site) for s in seen])
        assert told[full].shape == want.shape, full
        print(full, end=" ")
        assert_close(told[full], want)


def test_patterns_are_the_reference_s(mc, subject, tmp_path):
    """With values that say which token they belong to, a head's mix of them is its pattern."""
    name, reference, ids, seen = subject
    layer = 5
    data = write_data(tmp_path / "data.jsonl", TEXTS[:1])
    n = len(ids[0])
    heads, _, width = seen[0][("v", layer)].shape
    assert n <= width
    np.save(tmp_path / "which.npy", np.repeat(np.eye(n, width, dtype=np.float32)[:, None], heads, axis=1))
    edit = f"replace v.{layer} {tmp_path / 'which.npy'}"
    assert run_sites(mc, data, tmp_path / "out", f"heads.{layer}", "--edit", edit, name=name).code == 0
    _, tensors, _ = read_capture(tmp_path / "out")
    ours = tensors[f"heads.{layer}"]
    want = seen[0][("pattern", layer)].transpose(1, 0, 2)
    assert want.shape[-1] == n and np.abs(want[-1]).max() < 0.999, "a pattern that tells nothing"
    assert not ours[:, :, n:].any()
    assert np.abs(ours[:, :, :n] - want).max() < 2e-5
