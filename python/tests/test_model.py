"""Models: what the command says, Python says."""
from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

TEXT = "The quick brown fox jumps over the lazy dog."


@pytest.fixture(scope="module")
def mc_json(build_path):
    program = os.environ.get("MC_BIN") or str(build_path.parent / "bin" / "mc")

    def call(*arguments):
        r = subprocess.run([program, *map(str, arguments), "--output", "json"], capture_output=True, text=True, timeout=120)
        assert r.returncode == 0, r.stderr
        return json.loads(r.stdout)

    return call


def test_tokens(model):
    ids = model.tokenize(TEXT)
    assert model.detokenize(ids) == TEXT
    assert "".join(model.tokens(TEXT)) == TEXT
    assert len(model.tokenize("<|im_end|>", special=True)) == 1 < len(model.tokenize("<|im_end|>"))
    assert model.special_tokens["eos"] in model.special_tokens["end"]


def test_generation_is_an_iterator(model):
    generation = model.generate("Once upon a time", 12, logprobs=True)
    tokens = list(generation)
    result = generation.result
    assert "".join(t.text for t in tokens) == result["text"]
    assert [t.id for t in tokens if t.id is not None] == result["ids"]
    assert result["stop_reason"] == "max_tokens" and len(result["logprobs"]) == 12
    assert generation.text == model.generate("Once upon a time", 12).text
    # Logprobs of a step are those that a pass over the text gives.
    score = model.score(result["prompt_ids"] + result["ids"])
    assert score.logprobs[-12:] == result["logprobs"]


def test_generation_like_the_command(model, mc_json):
    answer = mc_json("infer", "--model", model.path, "--prompt", "Once upon a time", "--max-tokens", 8)
    assert model.generate("Once upon a time", 8).text == answer["text"]


def test_generation_stops(model):
    with model.generate("Once upon a time", 4000, ignore_eos=True) as generation:
        next(generation)
    assert generation.result["stop_reason"] == "interrupted"
    generation = model.generate("Once upon a time", 4000, ignore_eos=True)
    next(generation)
    del generation  # no thread is left that would keep the process alive
    assert model.generate("One, two, three,", 30, stop=" five").result["stop_reason"] == "stop_string"
    with pytest.raises(ValueError):
        list(model.generate([], 3))


def test_score(model):
    one = model.score(TEXT)
    both = model.score([TEXT, "Hello"])
    assert both[0] == one and len(one.logprobs) == len(one.ids) - 1
    assert one.total == pytest.approx(sum(one.logprobs)) and one.perplexity > 1


def test_capture_to_arrays_and_disk(model, tmp_path):
    texts = [TEXT, "Hello world", "a"]
    tokens = [len(model.tokenize(t)) for t in texts]
    seen = []
    summary = model.capture(texts, [5, -1], out=tmp_path / "out", progress=lambda *p: seen.append(p))
    assert summary["prompts"] == 3 and summary["tokens"] == sum(tokens) and seen
    arrays = model.capture(texts, [5, -1])
    assert list(arrays) == [5, 29]
    [shard] = (tmp_path / "out").glob("*.safetensors")
    disk = read_safetensors(shard)
    for layer, rows in arrays.items():
        assert [r.shape for r in rows] == [(n, 576) for n in tokens]
        np.testing.assert_array_equal(np.concatenate([np.asarray(r) for r in rows]), disk[f"layer.{layer}"])
    means = model.capture(texts, [3], pool="mean")[3]
    np.testing.assert_allclose(np.asarray(means[1]), np.asarray(model.hidden("Hello world", 3), np.float64).mean(0), rtol=1e-6, atol=1e-6)
    assert model.capture(texts, [3], pool="last")[3].shape == (3, 576)
    swapped = model.hidden(TEXT, [9, 2])
    np.testing.assert_array_equal(np.asarray(swapped[2]), np.asarray(model.hidden(TEXT, 2)))
    with pytest.raises(FileExistsError):
        model.capture(texts, [5], out=tmp_path / "out")
    with pytest.raises(IndexError):
        model.hidden(TEXT, 30)
    with pytest.raises(KeyboardInterrupt):
        model.capture(texts, [5], out=tmp_path / "stopped", progress=lambda *p: False)


def read_safetensors(path: Path):
    raw = path.read_bytes()
    n = int.from_bytes(raw[:8], "little")
    kinds = {"F32": np.float32, "I64": np.int64}
    return {k: np.frombuffer(raw[8 + n + v["data_offsets"][0] : 8 + n + v["data_offsets"][1]], kinds[v["dtype"]]).reshape(v["shape"])
            for k, v in json.loads(raw[8 : 8 + n]).items() if k != "__metadata__"}  # fmt: skip


def test_no_leak_in_generate(model):
    from package_under_test import resident

    for _ in range(20):
        model.generate([1, 2, 3], 2).text  # noqa: B018
    before = resident()
    for _ in range(100):
        model.generate([1, 2, 3], 2).text  # noqa: B018
    assert resident() - before < 8 << 20  # a cache kept at each would be 100 × 1.4 MB


def test_repr(model):
    assert "llama, 30 layers, hidden 576" in repr(model)
    plan = model.memory_plan(512)
    assert plan["total"] == plan["weights"] + plan["cache"] + max(plan["prefill"], plan["decode"])
