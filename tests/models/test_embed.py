"""Sentence vectors: all-MiniLM-L6-v2's real weights against Transformers, and what must not change them."""

from __future__ import annotations

import ctypes
import json

import gguf
import numpy as np
import pytest
from conftest import GOLDEN, MODELS, error_of, golden, measures_memory
from test_architectures import QUIET, as_directory, case
from test_capture_options import assert_planned


@pytest.fixture(scope="session")
def minilm():
    path = MODELS / "minilm"
    if not path.exists():
        pytest.skip(f"{path} is not there: python scripts/fetch_models.py {MODELS} minilm fetches it, or set MC_MODELS")
    return path.resolve()


def embedded(mc, model, tmp_path, texts, *more, env=None):
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    return mc("embed", "--model", model, "--file", file, "--output", "json", *more, env=env)


def vectors(result):
    return np.array([r["vector"] for r in result.json()["results"]])


def test_minilm_equals_transformers(mc, minilm, tmp_path):
    known = golden("minilm")
    result = embedded(mc, minilm, tmp_path, [k["text"] for k in known])
    assert [r["ids"] for r in result.json()["results"]] == [k["ids"] for k in known]
    want = np.load(GOLDEN / "minilm.npy").astype(np.float64)
    error = np.linalg.norm(vectors(result) - want, axis=1) / np.linalg.norm(want, axis=1)
    # Rounding in float32 through six blocks; the golden is float64.
    assert error.max() < 2e-6, error


def test_neighbours_and_padding_change_no_bit(mc, minilm, tmp_path):
    texts = [k["text"] for k in golden("minilm")]
    alone = embedded(mc, minilm, tmp_path, texts, "--batch-size", "1").exact_json()["results"]
    for size, env in ((3, None), (12, None), (12, {"MC_SIMD": "avx2", "MC_NUM_THREADS": "1"})):
        assert embedded(mc, minilm, tmp_path, texts, "--batch-size", size, env=env).exact_json()["results"] == alone


def test_pooling_and_length(mc, minilm, tmp_path):
    one = vectors(embedded(mc, minilm, tmp_path, ["A short sentence."]))
    unit = vectors(embedded(mc, minilm, tmp_path, ["A short sentence."], "--normalize"))
    np.testing.assert_allclose(unit, one / np.linalg.norm(one), rtol=1e-6)
    first = embedded(mc, minilm, tmp_path, ["A short sentence."], "--pooling", "first")
    assert first.json()["pool"] == "first" and np.abs(vectors(first) - one).max() > 0.1
    text = mc("embed", "--model", minilm, "--text", "A short sentence.")
    np.testing.assert_allclose(np.array(text.out.split(), float), one[0], rtol=1e-7)


def test_capture_reads_the_states_that_are_pooled(mc, minilm, tmp_path):
    texts = [k["text"] for k in golden("minilm")][:4]
    want = vectors(embedded(mc, minilm, tmp_path, texts))
    r = mc("probe", "capture", "--model", minilm, "--data", tmp_path / "texts.jsonl", "--layers=-1", "--pool", "mean",
           "--out", tmp_path / "states", "--output", "json")  # fmt: skip
    r.json()
    raw = next((tmp_path / "states").glob("*.safetensors")).read_bytes()
    n = int.from_bytes(raw[:8], "little")
    where = [v["data_offsets"] for k, v in json.loads(raw[8 : 8 + n]).items() if k in ("layer.5", "resid_post.5")][0]
    states = np.frombuffer(raw[8 + n + where[0] : 8 + n + where[1]], np.float32).reshape(4, -1)
    np.testing.assert_allclose(states, want, rtol=0, atol=1e-7)


def test_nothing_is_truncated(mc, minilm, tmp_path):
    error = error_of(embedded(mc, minilm, tmp_path, ["word " * 600]))
    assert "602" in error["message"] and "512" in error["message"], error


def test_an_encoders_gguf_form_and_pooling(mc, tmp_path):
    config, weights = case("bert")
    w = gguf.GGUFWriter(tmp_path / "bert.gguf", "bert")
    w.add_block_count(2)
    w.add_embedding_length(32)
    w.add_head_count(2)
    w.add_feed_forward_length(config["intermediate_size"])
    w.add_context_length(config["max_position_embeddings"])
    w.add_layer_norm_eps(config["layer_norm_eps"])
    w.add_causal_attention(False)
    w.add_pooling_type(gguf.PoolingType.CLS)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(list("abcdefghijklmnopqrstuvwxyz"))
    w.add_token_types([1] * 26)
    w.add_token_merges(["a b"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, 2)
    for hf, a in weights.items():
        if not hf.startswith("pooler"):
            w.add_tensor(names.get_name(hf, try_suffixes=(".weight", ".bias")), a.astype(np.float32) if a.ndim == 1 else a)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    directory = as_directory(tmp_path / "dir", "bert")
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}')
    texts = ["abc", "thequickbrownfox"]
    of_file, of_directory = (embedded(mc, p, tmp_path, texts) for p in (tmp_path / "bert.gguf", directory))
    assert of_file.json()["pool"] == of_directory.json()["pool"] == "first"
    assert of_file.exact_json()["results"] == of_directory.exact_json()["results"]
    (directory / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    assert "mean_tokens" in error_of(embedded(mc, directory, tmp_path, texts))["message"]


def test_minilm_as_a_gguf_file(mc, minilm, tmp_path):
    """As llama.cpp's converter writes it, vocabulary and all; llama.cpp is the judge where it is installed."""
    raw = (minilm / "model.safetensors").read_bytes()
    n = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + n])
    tokenizer = json.loads((minilm / "tokenizer.json").read_text())
    words = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    special = {t["content"] for t in tokenizer["added_tokens"]}
    w = gguf.GGUFWriter(tmp_path / "minilm.gguf", "bert")
    w.add_block_count(6)
    w.add_embedding_length(384)
    w.add_head_count(12)
    w.add_feed_forward_length(1536)
    w.add_context_length(512)
    w.add_layer_norm_eps(1e-12)
    w.add_causal_attention(False)
    w.add_pooling_type(gguf.PoolingType.MEAN)
    w.add_tokenizer_model("bert")
    w.add_tokenizer_pre("default")
    w.add_token_type_count(2)
    w.add_token_list([t if t in special else t[2:] if t.startswith("##") else "\u2581" + t for t in words])
    w.add_token_types([3 if t in special else 1 for t in words])
    w.add_unk_token_id(100)
    w.add_bos_token_id(101)
    w.add_sep_token_id(102)
    w.add_pad_token_id(0)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, 6)
    for hf, at in header.items():
        if hf != "__metadata__" and not hf.startswith("pooler") and at["dtype"] == "F32":
            a = np.frombuffer(raw, np.float32, np.prod(at["shape"]), 8 + n + at["data_offsets"][0]).reshape(at["shape"])
            w.add_tensor(names.get_name(hf, try_suffixes=(".weight", ".bias")), a)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    # GGUF has no limit of a word's length, and llama.cpp counts no letters either.
    texts = [k["text"] for k in golden("minilm") if "a" * 101 not in k["text"]]
    file = embedded(mc, tmp_path / "minilm.gguf", tmp_path, texts)
    assert file.exact_json()["results"] == embedded(mc, minilm, tmp_path, texts).exact_json()["results"]
    llama_cpp = pytest.importorskip("llama_cpp")
    llama_cpp.llama_log_set(QUIET, ctypes.c_void_p(0))
    judge = llama_cpp.Llama(str(tmp_path / "minilm.gguf"), embedding=True, n_ctx=512, n_batch=512, n_ubatch=512, n_threads=1, verbose=False)
    ours = vectors(embedded(mc, tmp_path / "minilm.gguf", tmp_path, texts[:3], "--normalize"))
    theirs = np.array([judge.embed(t, normalize=True) for t in texts[:3]])
    judge.close()
    # Its GELU comes from a float16 table.
    np.testing.assert_allclose((ours * theirs).sum(1), 1, rtol=0, atol=1e-5)


def test_names_of_older_files(mc, tmp_path):
    """bert.embeddings.LayerNorm.gamma, and heads that are left out."""
    directory = as_directory(tmp_path / "new", "bert")
    _, weights = case("bert")
    older = as_directory(tmp_path / "older", "bert")
    (older / "model.safetensors").unlink()
    renamed = {
        "bert." + k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): a
        for k, a in weights.items()
    }
    renamed["cls.predictions.bias"] = np.zeros(64, np.float16)
    header, data = {}, b""
    for k, a in renamed.items():
        header[k] = {"dtype": "F16", "shape": list(a.shape), "data_offsets": [len(data), len(data) + a.nbytes]}
        data += a.tobytes()
    head = json.dumps(header).encode()
    (older / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + data)
    want, got = (embedded(mc, p, tmp_path, ["abc"]).exact_json()["results"] for p in (directory, older))
    assert got == want


def test_decoders_can_be_asked_too(mc, tmp_path):
    directory = as_directory(tmp_path / "dir", "qwen3")
    one = vectors(embedded(mc, directory, tmp_path, ["abcdef", "xyz"], "--pooling", "last"))
    assert one.shape == (2, 32) and np.isfinite(one).all()


@measures_memory
@pytest.mark.parametrize(("tokens", "texts"), [(60, 100), (250, 30)])  # more than a shard holds
def test_the_plan_is_what_comes(mc, minilm, tmp_path, tokens, texts):
    """As for decoders."""
    text = "fox " * (tokens - 2)  # a token each, and one at either end
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for _ in range(texts)))
    plan = mc("plan", minilm, "--prompt-tokens", tokens, "--batch-size", 4, "--layers", "0,3", "--output", "json").json()
    predicted = {p["command"]: p["process_bytes"] for p in plan["plans"]}
    assert [p["tokens"] for p in plan["plans"]] == [tokens] * 2
    assert_planned(mc, predicted, {
        "embed": ["embed", "--model", minilm, "--file", data, "--batch-size", 4],
        "probe capture": ["probe", "capture", "--model", minilm, "--data", data, "--layers", "0,3", "--out", tmp_path / "out{attempt}"],
    })  # fmt: skip
