"""Models: what the command says, Python says."""
from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import modelcypher as mc

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


def test_edits_of_scores_and_generations(model, mc_json):
    line = "scale heads.5 factor=0 heads=1"
    plain, edited = model.score(TEXT), model.score(TEXT, edits=line)
    assert edited.logprobs != plain.logprobs
    told = mc_json("score", "--model", model.path, "--text", TEXT, "--edit", line)
    assert edited.logprobs == [t["logprob"] for t in told["tokens"][1:]]
    as_object = mc.Edit("scale", "heads.5", factor=0, heads=[1])
    assert model.score(TEXT, edits=[as_object]).logprobs == edited.logprobs
    # Its zero multiple changes no bit, itself it changes the text.
    steer = np.sin(np.arange(model.config["hidden"], dtype=np.float32))
    text = model.generate("I feel", 12).text
    assert model.generate("I feel", 12, edits=[mc.Edit("add", "resid_post.12", steer, factor=0)]).text == text
    assert model.generate("I feel", 12, edits=[mc.Edit("add", "resid_post.12", steer, factor=40)]).text != text
    with pytest.raises(ValueError, match="resid_post"):
        model.score(TEXT, edits="add resid_pots.3 1")
    with pytest.raises(ValueError, match="kind"):
        model.score(TEXT, edits=[mc.Edit("double", "embed")])
    with pytest.raises(ValueError, match="never fired"):
        model.score(TEXT, edits=[mc.Edit("add", "embed", 1.0, positions=[500])])


def test_activations_at_sites(model):
    c = model.config
    got = model.activations(TEXT, "q.3,resid_post.-1,logits,pattern.0")
    n = len(model.tokenize(TEXT))
    assert list(got) == ["q.3", f"resid_post.{c['layers'] - 1}", "logits", "pattern.0"]
    assert got["q.3"].shape == (n, c["heads"], c["head_dim"]) and got["logits"].shape == (n, c["vocab"])
    assert got["pattern.0"].shape[0] == c["heads"] and got["pattern.0"].shape[-1] == n
    np.testing.assert_array_equal(np.asarray(got[f"resid_post.{c['layers'] - 1}"]), np.asarray(model.hidden(TEXT, -1)))
    # The log-softmax of the logits is the score.
    logits = np.asarray(got["logits"], np.float64)
    logprobs = logits - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True)) - logits.max(-1, keepdims=True)
    score = model.score(TEXT)
    np.testing.assert_allclose([logprobs[i, t] for i, t in enumerate(score.ids[1:])], score.logprobs, atol=1e-5)
    patched = model.activations(TEXT, "logits", edits=[mc.Edit("replace", "resid_post.4", model.hidden(TEXT, 4))])
    np.testing.assert_array_equal(np.asarray(patched["logits"]), np.asarray(got["logits"]))
    with pytest.raises(ValueError):
        model.activations(TEXT, "nowhere.3")


def test_hooks_read_and_replace(model):
    plain = np.asarray(model.activations(TEXT, "logits")["logits"])
    seen = []

    def look(name, result=lambda x: None):
        def hook(x):
            seen.append((name, tuple(x.shape)))
            return result(x)

        return hook

    # In the model's order, however they are given; what only looks, or gives the same back, changes no bit.
    got = model.run_with_hooks(TEXT, {"resid_post.9": look("late"), "embed": look("early", lambda x: x)})
    assert [name for name, _ in seen] == ["early", "late"]
    np.testing.assert_array_equal(np.asarray(got["logits"]), plain)
    # A later hook sees what an earlier one did, and the whole equals the edit.
    doubled = []
    got = model.run_with_hooks(TEXT, {"mlp_out.3": lambda x: x * 0.0, "mlp_out.4": lambda x: doubled.append(np.asarray(x))})
    same = model.activations(TEXT, "logits,mlp_out.4", edits="scale mlp_out.3 factor=0")
    np.testing.assert_array_equal(np.asarray(got["logits"]), np.asarray(same["logits"]))
    np.testing.assert_array_equal(doubled[0], np.asarray(same["mlp_out.4"]))
    # Several at one site run in the order given.
    both = model.run_with_hooks(TEXT, {"mlp_out.3": lambda x: x * 0.0, "mlp_out.3-4": lambda x: x + 1.0}, "mlp_out.3")
    assert np.all(np.asarray(both["mlp_out.3"]) == 1)
    with pytest.raises(ValueError, match="shape"):
        model.run_with_hooks(TEXT, {"embed": lambda x: x[:1]})
    with pytest.raises(ZeroDivisionError):
        model.run_with_hooks(TEXT, {"embed": lambda x: 1 / 0})


def test_capture_of_sites(model, tmp_path):
    texts = [TEXT, "Hello world"]
    arrays = model.capture(texts, sites=["attn_out.2", "embed"])
    assert list(arrays) == ["attn_out.2", "embed"] and len(arrays["embed"]) == 2
    summary = model.capture(texts, sites="attn_out.2,embed", out=tmp_path / "out", positions="-1", edits="scale attn_out.2 factor=2")
    assert summary["prompts"] == 2
    manifest = json.loads(Path(summary["manifest"]).read_text())
    assert "edits" in json.dumps(manifest)
    with pytest.raises(ValueError, match="resume= and shard="):
        model.capture(texts, 0, shard=(0, 2))
    back = model.capture(texts, 0, edits=[mc.Edit("scale", "embed", factor=0, positions=[-1])])  # each text's last token
    plain = model.capture(texts, 0)
    assert [np.array_equal(a[:-1], b[:-1]) and not np.array_equal(a, b) for a, b in zip(map(np.asarray, back[0]), map(np.asarray, plain[0]))] == [True] * 2
    parts = [model.capture(texts, 0, out=tmp_path / f"p{i}", shard=(i, 2))["prompts"] for i in range(2)]
    assert parts == [1, 1]


def test_offsets_are_characters(model):
    text = "naïve 👍🏽 cat"
    ids, spans = model.tokenize_with_offsets(text)
    assert ids == model.tokenize(text) and spans[0][0] == 0 and spans[-1] == (len(text) - 4, len(text))
    assert text[spans[-1][0] : spans[-1][1]] == " cat"


def test_conversations(model, mc_json):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is the capital of France?"}]
    text, ids = model.chat_text(messages)
    told = mc_json("infer", "--model", model.path, "--chat", "--system", "Be brief.", "--prompt", messages[1]["content"], "--max-tokens", 12)
    assert text == told["prompt"] and ids == told["prompt_ids"]
    assert model.generate(messages, 12).text == told["text"]
    assert model.chat_text(messages, template="{{ messages|length }}{{ more }}", more="x")[0] == "2x"
    with pytest.raises(ValueError, match="line 1"):
        model.chat_text(messages, template="{% nothing %}")


def test_embed(model):
    one = model.embed("A cat.", pool="mean", normalize=True)
    both = model.embed(["A cat.", "A dog."], pool="mean", normalize=True)
    assert both.shape == (2, model.config["hidden"]) and float((one * one).sum()) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(np.asarray(both[0]), np.asarray(one))


def test_load_quantized(model):
    small = mc.load(model.path, quantize="affine8:64")
    a, b = small.score(TEXT).logprobs, model.score(TEXT).logprobs
    assert a != b and np.allclose(a, b, atol=0.3)
    with pytest.raises(ValueError, match="affine"):
        mc.load(model.path, quantize="int3")


@pytest.mark.parametrize("call", [lambda m: m.score(3), lambda m: m.generate(3), lambda m: m.tokenize(3), lambda m: m.score([None])])
def test_what_is_no_text_is_told(model, call):
    with pytest.raises(TypeError, match="not (int 3|NoneType None)"):
        call(model)
