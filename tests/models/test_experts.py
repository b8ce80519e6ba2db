"""Mixtures of experts on each engine that is here: equal results, and nothing of an expert that no token chose."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from test_architectures import as_directory, tensors_of
from test_capture import read_capture

ENGINES = ("numpy", "jax", "mlx")
# Layer, expert, and one of its three matrices, as either model names them.
NAMES = {
    "mixtral": "model.layers.{}.block_sparse_moe.experts.{}.w1.weight",
    "qwen3_moe": "model.layers.{}.mlp.experts.{}.down_proj.weight",
}


@pytest.fixture(scope="module")
def engines(mc):
    told = json.loads(mc("doctor", "--output", "json").out)["engines"]
    return [e for e in ENGINES if any(t["name"] == e and t["available"] for t in told)]


def write(path, tensors):
    header, at = {}, 0
    for name, t in tensors.items():
        header[name] = {"dtype": "F16", "shape": list(t.shape), "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.unlink(missing_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(t.tobytes() for t in tensors.values()))


def states(mc, model, tmp_path, engine, text):
    data, out = tmp_path / "data.jsonl", tmp_path / "out"
    data.write_text(json.dumps({"text": text}) + "\n")
    result = mc("probe", "capture", "--model", model, "--data", data, "--layers", "all", "--backend", engine, "--out", out)
    assert result.code == 0, result.err
    _, tensors, _ = read_capture(out)
    for f in out.iterdir():
        f.unlink()
    out.rmdir()
    return {k: v for k, v in tensors.items() if k.startswith("layer.")}


@pytest.mark.parametrize("name", NAMES)
def test_engines_agree(mc, engines, tmp_path, name):
    model = as_directory(tmp_path / name, name)
    for text in ("a", "thequickbrown"):
        known = states(mc, model, tmp_path, "numpy", text)
        for engine in engines[1:]:
            for layer, value in states(mc, model, tmp_path, engine, text).items():
                size = np.sqrt(np.mean(known[layer].astype(float) ** 2))
                assert np.abs(value.astype(float) - known[layer]).max() <= 5e-6 * size, (engine, layer)
        asked = ["infer", "--model", model, "--prompt", text, "--max-tokens", 12, "--ignore-eos", "--output", "json"]
        told = [mc(*asked, "--backend", e).json() for e in engines]
        assert all(t["ids"] == told[0]["ids"] for t in told)


@pytest.mark.parametrize("name", NAMES)
def test_experts_that_no_token_chose_change_no_bit(mc, engines, tmp_path, name):
    """Of a single token each layer asks as many experts as it uses: a NaN in a weight of one of these is seen, of another it is not."""
    model = as_directory(tmp_path / name, name)
    config = json.loads((model / "config.json").read_text())
    count, used = config.get("num_local_experts") or config["num_experts"], config["num_experts_per_tok"]
    assert used < count
    weights = tensors_of(name)
    for engine in engines:
        write(model / "model.safetensors", weights)
        known = states(mc, model, tmp_path, engine, "a")
        for layer in range(config["num_hidden_layers"]):
            asked = 0
            for expert in range(count):
                spoilt = NAMES[name].format(layer, expert)
                write(model / "model.safetensors", {k: np.full_like(v, np.nan) if k == spoilt else v for k, v in weights.items()})
                got = states(mc, model, tmp_path, engine, "a")
                if np.isnan(got[f"layer.{layer}"]).any():
                    asked += 1
                    continue
                assert all(np.array_equal(got[k].view(np.uint8), known[k].view(np.uint8)) for k in known), (engine, layer, expert)
            assert asked == used, (engine, layer)
