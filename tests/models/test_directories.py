"""Hugging Face directories: the same answer as the GGUF file made of the same weights, and refusals by name."""
from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
from pathlib import Path

import gguf
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
MC = os.environ.get("MC_BIN", str(ROOT / "build" / "release" / "bin" / "mc"))
MODELS = Path(os.environ.get("MC_MODELS", ROOT / "models"))
TEXT = "The capital of France is Paris, and 12345 is a number.\n\n  Good-bye!"
NAMES = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
         "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
LAYERS = 2


def save(path: Path, tensors: dict[str, np.ndarray], types: dict[str, str] | None = None) -> None:
    header, at = {}, 0
    kind = {"float32": "F32", "float16": "F16", "uint32": "U32"}
    for n, a in tensors.items():
        header[n] = {"dtype": (types or {}).get(n, kind[a.dtype.name]), "shape": list(a.shape),
                     "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    h = json.dumps(header).encode()
    h += b" " * (-len(h) % 8)
    path.write_bytes(struct.pack("<Q", len(h)) + h + b"".join(np.ascontiguousarray(a).tobytes() for a in tensors.values()))


def mc(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([MC, *args], capture_output=True, text=True, timeout=300)


def logprobs(model: Path, *more: str) -> list[float]:
    r = mc("score", "--model", str(model), "--text", TEXT, "--output", "json", "--dtype", "f32", *more)
    assert r.returncode == 0, r.stderr + r.stdout
    return [t["logprob"] for t in json.loads(r.stdout)["tokens"][1:]]


@pytest.fixture(scope="module")
def smollm(tmp_path_factory):
    """The first layers of SmolLM2 in float16 as GGUF, as one directory, as shards, and in MLX's packing."""
    source = MODELS / "smollm2.gguf"
    if not source.exists():
        pytest.skip("the model is not there: ./dev build fetches it")
    folder = tmp_path_factory.mktemp("smollm")
    reader = gguf.GGUFReader(source)

    def value(key):
        return reader.fields[key].contents()

    heads, kv = value("llama.attention.head_count"), value("llama.attention.head_count_kv")
    tensors = {}
    for t in reader.tensors:
        if t.name.startswith("blk.") and int(t.name.split(".")[1]) >= LAYERS:
            continue
        a = gguf.dequantize(t.data, t.tensor_type).reshape([int(d) for d in reversed(t.shape)])
        tensors[t.name] = a.astype(np.float16) if a.ndim == 2 else a.astype(np.float32)
    out = gguf.GGUFWriter(folder / "model.gguf", "llama")
    out.add_block_count(LAYERS)
    for k in ("embedding_length", "attention.head_count", "attention.head_count_kv", "feed_forward_length",
              "context_length"):
        out.add_uint32(f"llama.{k}", value(f"llama.{k}"))
    out.add_float32("llama.attention.layer_norm_rms_epsilon", value("llama.attention.layer_norm_rms_epsilon"))
    out.add_float32("llama.rope.freq_base", value("llama.rope.freq_base"))
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("smollm")
    tokens, kinds = value("tokenizer.ggml.tokens"), value("tokenizer.ggml.token_type")
    merges = value("tokenizer.ggml.merges")
    out.add_token_list(tokens)
    out.add_token_types(kinds)
    out.add_token_merges(merges)
    for name, a in tensors.items():
        out.add_tensor(name, a)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()

    def unpermuted(a, n):
        return a.reshape(n, a.shape[0] // n // 2, 2, a.shape[1]).swapaxes(1, 2).reshape(a.shape)

    hf = {}
    for name, a in tensors.items():
        stem = name.removesuffix(".weight")
        if stem.startswith("blk."):
            _, layer, part = stem.split(".")
            a = unpermuted(a, heads) if part == "attn_q" else unpermuted(a, kv) if part == "attn_k" else a
            hf[f"model.layers.{layer}.{NAMES[part]}.weight"] = a
        else:
            hf[{"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}[stem] + ".weight"] = a
    config = {"model_type": "llama", "num_hidden_layers": LAYERS, "hidden_size": value("llama.embedding_length"),
              "num_attention_heads": heads, "num_key_value_heads": kv,
              "intermediate_size": value("llama.feed_forward_length"),
              "max_position_embeddings": value("llama.context_length"),
              "rms_norm_eps": float(value("llama.attention.layer_norm_rms_epsilon")),
              "rope_theta": float(value("llama.rope.freq_base")), "tie_word_embeddings": True}
    tokenizer = {"added_tokens": [{"id": i, "content": t, "special": True} for i, t in enumerate(tokens) if kinds[i] == 3],
                 "normalizer": None,
                 "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                     {"type": "Digits", "individual_digits": True},
                     {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}]},
                 "model": {"type": "BPE", "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges}}

    def directory(name: str) -> Path:
        d = folder / name
        d.mkdir()
        (d / "config.json").write_text(json.dumps(config))
        (d / "tokenizer.json").write_text(json.dumps(tokenizer))
        return d

    save(directory("one") / "model.safetensors", hf)
    shards, names = directory("shards"), sorted(hf)
    files = {n: f"model-{i % 2 + 1:05}-of-00002.safetensors" for i, n in enumerate(names)}
    for f in set(files.values()):
        save(shards / f, {n: hf[n] for n in names if files[n] == f})
    (shards / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))

    # 4 bits in groups of 64 with float32 scales, and the same weights expanded.
    packed, expanded = {}, {}
    for n, a in hf.items():
        if a.ndim == 1:
            packed[n] = expanded[n] = a
            continue
        g = a.astype(np.float32).reshape(a.shape[0], -1, 64)
        low, high = g.min(-1, keepdims=True), g.max(-1, keepdims=True)
        scale = np.maximum((high - low) / np.float32(15), np.float32(1e-8))
        q = np.clip(np.rint((g - low) / scale), 0, 15)
        expanded[n] = (q.astype(np.float32) * scale + low).reshape(a.shape)
        codes = q.reshape(a.shape[0], -1, 8).astype(np.uint32)
        stem = n.removesuffix(".weight")
        packed[n] = (codes << (4 * np.arange(8, dtype=np.uint32))).sum(-1, dtype=np.uint32)
        packed[stem + ".scales"], packed[stem + ".biases"] = scale[..., 0], low[..., 0]
    save(directory("expanded") / "model.safetensors", expanded)
    config["quantization"] = {"group_size": 64, "bits": 4}
    save(directory("mlx") / "model.safetensors", packed)
    return folder


def test_a_directory_equals_the_gguf_of_its_weights(smollm):
    want = logprobs(smollm / "model.gguf")
    # The rotation adds the same products of other rows: only the order of a head's columns differs.
    np.testing.assert_allclose(logprobs(smollm / "one"), want, rtol=2e-4, atol=2e-4)
    assert logprobs(smollm / "shards") == logprobs(smollm / "one")


def test_mlx_packing_equals_its_expanded_weights(smollm):
    np.testing.assert_allclose(logprobs(smollm / "mlx"), logprobs(smollm / "expanded"), rtol=2e-4, atol=2e-4)


def test_info_and_refusals(smollm, tmp_path):
    r = mc("model", "info", str(smollm / "mlx"), "--tensors")
    assert r.returncode == 0 and "affine 4-bit/64" in r.stdout and "blk.1.ffn_up.weight" in r.stdout, r.stderr
    config = json.loads((smollm / "one" / "config.json").read_text())
    for change, words in [({"model_type": "lama"}, ["model_type", "lama", "nearest", "'llama'"]),
                          ({"num_hidden_layers": -1}, ["num_hidden_layers", "-1"]),
                          ({"num_hidden_layers": 3}, ["blk.2."]),
                          ({"rope_scaling": {"rope_type": "yarn"}}, ["yarn"]),
                          ({"hidden_act": "gelu"}, ["gelu", "silu"]),
                          ({"layer_types": ["full_attention", "sliding_attention"]}, ["layer 1", "sliding"]),
                          ({"layer_types": ["chunked_attention"]}, ["chunked_attention"]),
                          ({"tie_word_embeddings": False}, ["tie_word_embeddings", "lm_head"]),
                          ({"quantization_config": {"quant_method": "gptq"}}, ["gptq"])]:
        for f in ("tokenizer.json", "model.safetensors"):
            link = tmp_path / f
            if not link.exists():
                link.symlink_to(smollm / "one" / f)
        (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
        r = mc("score", "--model", str(tmp_path), "--text", "a")
        assert r.returncode == 1, (change, r.stdout, r.stderr)
        for w in words:
            assert w in r.stderr, (change, r.stderr)


def test_damaged_weights_are_refused(smollm, tmp_path):
    for f in ("tokenizer.json", "config.json"):
        (tmp_path / f).symlink_to(smollm / "one" / f)
    whole = (smollm / "one" / "model.safetensors").read_bytes()
    for data in (b"", whole[:7], whole[:100], whole[:-1], whole + b"x", b"PK" + whole[2:],
                 whole[:8] + whole[8:300].replace(b"[0,", b"[9,").replace(b"[0, ", b"[9, ") + whole[300:]):
        (tmp_path / "model.safetensors").write_bytes(data)
        r = mc("score", "--model", str(tmp_path), "--text", "a")
        assert r.returncode == 1 and "MC-E020" in r.stderr, r.stderr


def test_the_hash_is_of_every_file_that_is_read(smollm, tmp_path):
    """Another tokenizer or chat template is another model; a file that nobody reads is not part of it."""
    hashes = []
    data = tmp_path / "data.jsonl"
    data.write_text('{"text": "a"}\n')
    model = tmp_path / "model"
    model.mkdir()
    for f in ("config.json", "model.safetensors", "tokenizer.json"):
        (model / f).write_bytes((smollm / "one" / f).read_bytes())
    for f, more in [(None, ""), ("README.md", "x"), ("tokenizer.json", " "), ("tokenizer_config.json", "{}"),
        ("generation_config.json", "{}"), ("chat_template.jinja", "x")]:
        if f:
            with open(model / f, "a") as file:
                file.write(more)
        out = tmp_path / f"out{len(hashes)}"
        r = mc("probe", "capture", "--model", str(model), "--data", str(data), "--layers", "0", "--pool", "last", "--out", str(out))
        assert r.returncode == 0, r.stderr
        hashes.append(json.loads((out / "manifest.json").read_text())["model"]["sha256"])
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 5
    files = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"]
    assert hashes[-1] == hashlib.sha256(b"".join((model / f).read_bytes() for f in files)).hexdigest()


def test_templates_and_end_tokens_of_a_directory(smollm, tmp_path):
    """One of several templates by name; a file of its own stands over them; generation_config.json's end tokens end answers."""
    folder = tmp_path / "d"
    folder.mkdir()
    for f in (smollm / "one").iterdir():
        if f.name != "chat_template.jinja":
            (folder / f.name).symlink_to(f) if f.suffix == ".safetensors" else (folder / f.name).write_bytes(f.read_bytes())
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text()) if path.exists() else {}
    named = [{"name": "default", "template": "D{{ messages[0].content }}"}, {"name": "tool_use", "template": "T{{ tools|length }}"}]
    path.write_text(json.dumps(settings | {"chat_template": named}))
    (tmp_path / "tools.json").write_text("[{}, {}]")

    def told(*more, tokens="0"):
        return json.loads(mc("infer", "--model", str(folder), "--chat", "--prompt", "ab", "--max-tokens", tokens, "--output", "json",
            *more).stdout)

    assert told()["prompt"] == "Dab"
    assert told("--chat-template", "tool_use", "--tools", str(tmp_path / "tools.json"))["prompt"] == "T2"
    error = told("--chat-template", "other")["error"]
    assert "other" in error["message"] and "default, tool_use" in error["next"]
    ids = told(tokens="4")["ids"]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, ids[0]]}))
    assert told(tokens="4")["stop_reason"] == "end_of_text" and told(tokens="4")["ids"] == []
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": "x"}))
    assert "eos_token_id" in told()["error"]["message"]
    (folder / "generation_config.json").unlink()
    (folder / "chat_template.jinja").write_text("J")
    assert told()["prompt"] == "J"
    (folder / "chat_template.jinja").unlink()
    for bad in (7, [{"name": "a"}], [named[0], named[0]]):
        path.write_text(json.dumps(settings | {"chat_template": bad}))
        assert told()["error"]["code"] == "MC-E0205"
