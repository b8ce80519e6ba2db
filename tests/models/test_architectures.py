"""Every architecture's GGUF form, written by the `gguf` package from the weights of tests/golden/transformers: equal to the directory of
the same weights, and to llama.cpp where it is installed."""

from __future__ import annotations

import ctypes
import json
import math
from pathlib import Path

import gguf
import numpy as np
import pytest
from conftest import ROOT, error_of

GOLDEN = ROOT / "tests" / "golden" / "transformers"
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,"
TEXT = "thequickbrown"
ARCHITECTURES = {"mistral": "llama", "mixtral": "llama", "gemma3_text": "gemma3", "gpt_neox": "gptneox", "qwen3_moe": "qwen3moe"}
# Those that GGUF has keys for.
NO_GGUF = ("bert", "llama-dynamic", "llama-yarn-whole", "gpt_neox-fast")
DECODERS = sorted(p.stem for p in GOLDEN.glob("*.json") if p.stem not in NO_GGUF)


def add_letters(w):
    """A tokenizer of single letters in a gguf.GGUFWriter."""
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(list(LETTERS))
    w.add_token_types([1] * 64)
    w.add_token_merges(["a b"])
    w.add_add_bos_token(False)
    w.add_eos_token_id(63)


def tensors_of(name):
    raw = (GOLDEN / f"{name}.safetensors").read_bytes()
    n = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + n])
    header.pop("__metadata__", None)
    return {
        k: np.frombuffer(raw[8 + n + v["data_offsets"][0] : 8 + n + v["data_offsets"][1]], np.float16).reshape(v["shape"])
        for k, v in header.items()
    }


def case(name):
    about = json.loads((GOLDEN / f"{name}.json").read_text())
    return about["config"], tensors_of(about["weights"])


def as_directory(folder: Path, name, **changes):
    config, _ = case(name)
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config | changes))
    vocab = {c: i for i, c in enumerate(LETTERS)}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    (folder / "tokenizer.json").write_text(
        json.dumps({"pre_tokenizer": byte_level, "model": {"type": "BPE", "vocab": vocab, "merges": []}})
    )
    (folder / "tokenizer_config.json").write_text('{"add_bos_token": false}')
    link = folder / "model.safetensors"
    if not link.exists():
        about = json.loads((GOLDEN / f"{name}.json").read_text())
        link.symlink_to(GOLDEN / f"{about['weights']}.safetensors")
    return folder


def scaling_of(config):
    """(kind, parameters, base) of either form."""
    p = config.get("rope_parameters") or (config.get("rope_scaling") or {}) | {"rope_theta": config.get("rope_theta", 10000.0)}
    if "full_attention" in p:
        p = p["full_attention"]
    return p.get("rope_type", "default"), p, p["rope_theta"]


def as_gguf(path: Path, name):
    """What llama.cpp's converter writes of these weights."""
    config, weights = case(name)
    model = config["model_type"]
    arch = ARCHITECTURES.get(model, model)
    w = gguf.GGUFWriter(path, arch)
    layers = config.get("num_hidden_layers") or config["n_layer"]
    d = config.get("hidden_size") or config["n_embd"]
    heads = config.get("num_attention_heads") or config["n_head"]
    kv = config.get("num_key_value_heads") or heads
    dim = config.get("head_dim") or d // heads
    w.add_block_count(layers)
    w.add_embedding_length(d)
    w.add_head_count(heads)
    w.add_head_count_kv(kv)
    w.add_feed_forward_length(config.get("intermediate_size") or config["n_inner"])
    w.add_context_length(config.get("max_position_embeddings") or config["n_positions"])
    w.add_vocab_size(64)
    if "rms_norm_eps" in config:
        w.add_layer_norm_rms_eps(config["rms_norm_eps"])
    else:
        w.add_layer_norm_eps(config.get("layer_norm_eps") or config["layer_norm_epsilon"])
    if "head_dim" in config and config["head_dim"]:
        w.add_key_length(dim)
        w.add_value_length(dim)
    rotated = dim
    extra = {}
    if model != "gpt2":
        kind, p, base = scaling_of(config)
        rotated = int(dim * (p.get("partial_rotary_factor") or config.get("rotary_pct") or 1))
        w.add_rope_freq_base(base)
        w.add_rope_dimension_count(rotated)
        if kind == "linear":
            w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            w.add_rope_scaling_factor(p["factor"])
        if kind == "yarn":
            w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
            w.add_rope_scaling_factor(p["factor"])
            w.add_rope_scaling_orig_ctx_len(p["original_max_position_embeddings"])
        if kind == "longrope":
            original = p.get("original_max_position_embeddings") or config["original_max_position_embeddings"]
            scale = config["max_position_embeddings"] / original
            w.add_rope_scaling_orig_ctx_len(original)
            w.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(original)))
            for k in ("long", "short"):
                extra[f"rope_factors_{k}.weight"] = np.array(p[f"{k}_factor"], np.float32)
        if kind == "llama3":
            wave = 2 * np.pi * base ** (np.arange(0, rotated, 2) / rotated)
            low, high = p["low_freq_factor"], p["high_freq_factor"]
            smooth = np.clip((p["original_max_position_embeddings"] / wave - low) / (high - low), 0, 1)
            extra["rope_freqs.weight"] = (1 / ((1 - smooth) / p["factor"] + smooth)).astype(np.float32)
    if model == "gpt_neox":
        w.add_parallel_residual(config["use_parallel_residual"])
    if config.get("num_local_experts"):
        w.add_expert_count(config["num_local_experts"])
        w.add_expert_used_count(config["num_experts_per_tok"])
    if "moe_intermediate_size" in config:
        w.add_expert_feed_forward_length(config["moe_intermediate_size"])
    if model.startswith("gemma"):
        w.add_sliding_window(config["sliding_window"])
    if model == "gemma2":
        w.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        w.add_final_logit_softcapping(config["final_logit_softcapping"])
    add_letters(w)

    names = gguf.get_tensor_name_map({v: k for k, v in gguf.MODEL_ARCH_NAMES.items()}[arch], layers)
    stacked: dict[str, dict[int, np.ndarray]] = {}
    for hf, a in weights.items():
        a = a.astype(np.float32) if a.ndim == 1 else a
        if ".experts." in hf:
            head, tail = hf.split(".experts.")
            number, part = tail.split(".", 1)
            stacked.setdefault(f"{head}.experts.{part}", {})[int(number)] = a
            continue
        if hf.startswith("transformer.") and a.ndim == 2 and "wte" not in hf and "wpe" not in hf:
            a = a.T
        if model == "gpt_neox" and "query_key_value" in hf:
            a = a.reshape(heads, 3, d // heads, *a.shape[1:]).swapaxes(0, 1).reshape(a.shape)
        if arch == "llama" and ("q_proj" in hf or "k_proj" in hf):
            n = heads if "q_proj" in hf else kv
            a = a.reshape(n, 2, dim // 2, *a.shape[1:]).swapaxes(1, 2).reshape(a.shape)
        if model.startswith("gemma") and a.ndim == 1:
            a = a + np.float32(1)
        to = names.get_name(hf, try_suffixes=(".weight", ".bias"))
        assert to, hf
        w.add_tensor(to, np.ascontiguousarray(a))
    for hf, parts in stacked.items():
        to = names.get_name(hf, try_suffixes=(".weight",))
        assert to, hf
        w.add_tensor(to, np.stack([parts[i] for i in range(len(parts))]))
    for to, a in extra.items():
        w.add_tensor(to, a)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path


def logprobs(mc, path, text, *more):
    return [t["logprob"] for t in mc("score", "--model", path, "--text", text, *more, "--output", "json").json()["tokens"][1:]]


@pytest.mark.parametrize("name", DECODERS)
def test_gguf_equals_the_directory(mc, tmp_path, name):
    directory, file = as_directory(tmp_path / "dir", name), as_gguf(tmp_path / "model.gguf", name)
    config = json.loads((directory / "config.json").read_text())
    # GGUF files of these tell no window, or not one for each layer; 4 tokens are within all of them.
    text = TEXT[:4] if config["model_type"] in ("mistral", "qwen2", "phi3") else TEXT
    if config["model_type"].startswith("gemma"):
        # Nor a scale of scores other than that of a head, nor another period.
        directory = as_directory(directory, name, query_pre_attn_scalar=config["head_dim"])
        if name == "gemma3":
            text = TEXT[:5]
            directory = as_directory(directory, name, layer_types=["sliding_attention"] * 3)
    # Sums of the same products in another order, where rows are permuted; else the same bits.
    np.testing.assert_allclose(logprobs(mc, file, text), logprobs(mc, directory, text), rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", DECODERS)
def test_llama_cpp_agrees(mc, tmp_path, name):
    llama_cpp = pytest.importorskip("llama_cpp")
    file = as_gguf(tmp_path / "model.gguf", name)
    text = TEXT[:4] if name == "mistral" else TEXT
    ids = [LETTERS.index(c) for c in text]
    llama_cpp.llama_log_set(QUIET, ctypes.c_void_p(0))
    judge = llama_cpp.Llama(str(file), n_ctx=16, n_threads=1, logits_all=True, verbose=False, type_k=0, type_v=0, flash_attn=False)
    judge.eval(ids)
    x = judge.scores[: len(ids)].astype(np.float64)
    judge.close()
    x -= x.max(-1, keepdims=True)
    want = (x - np.log(np.exp(x).sum(-1, keepdims=True)))[np.arange(len(ids) - 1), ids[1:]]
    # llama.cpp rounds what meets float16 weights to float16, and GELU comes from a float16 table: 5e-4 of a number each, a hundred
    # times in a row. GPT-NeoX's GELU is its tanh form there.
    # Its contexts are multiples of 256: beyond phi3's original one.
    more = ["--context", "64"] if name.startswith("phi3") else []
    np.testing.assert_allclose(logprobs(mc, file, text, *more), want, rtol=0, atol=0.02)


try:
    import llama_cpp

    QUIET = llama_cpp.llama_log_callback(lambda level, text, data: None)
except ImportError:
    QUIET = None


def test_an_encoder_tells_what_it_is_for(mc, tmp_path):
    directory = as_directory(tmp_path / "bert", "bert")
    for command in (["score", "--text", "abc"], ["infer", "--prompt", "abc"]):
        error = error_of(mc(command[0], "--model", directory, *command[1:], "--output", "json"))
        assert "encoder" in error["message"] and "next token" in error["message"], error


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("llama", {"embedding_multiplier": 12.0}, ["embedding_multiplier", "12.0", "llama"]),
        ("llama", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0, "mrope_section": [1]}}, ["mrope_section"]),
        ("llama", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0, "truncate": 3}}, ["truncate"]),
        ("llama", {"rope_parameters": {"rope_type": "ntk", "rope_theta": 1e4}}, ["ntk", "yarn", "longrope"]),
        ("gpt2", {"activation_function": "relu"}, ["relu", "gelu_new"]),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, ["scale_attn_by_inverse_layer_idx"]),
        ("bert", {"position_embedding_type": "relative_key"}, ["position_embedding_type", "relative_key"]),
        ("bert", {"is_decoder": True}, ["is_decoder"]),
        ("bert", {"hidden_act": "relu"}, ["relu", "gelu"]),
        ("qwen3", {"head_dim": None}, ["head_dim"]),
        ("qwen2", {"layer_types": ["full_attention"]}, ["layer_types", "1 of 2"]),
        ("qwen3_moe", {"mlp_only_layers": [0]}, ["mlp_only_layers", "[0]"]),
        ("gemma2", {"sliding_window": None}, ["sliding_window"]),
        ("llama", {"rope_parameters": {"rope_type": 3, "rope_theta": 1e4}}, ["rope", "3"]),
        (
            "gemma3",
            {"rope_parameters": {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_type": "linear", "rope_theta": 1e4}}},
            ["sliding_attention.rope_type", "linear"],
        ),
        ("llama", {"model_type": "qwen5"}, ["model_type", "qwen5", "nearest", "'qwen"]),
    ],
)  # fmt: skip
def test_what_is_not_computed_is_refused_by_name(mc, tmp_path, name, change, words):
    directory = as_directory(tmp_path / "dir", name, **change)
    error = error_of(mc("score", "--model", directory, "--text", "abc", "--output", "json"))
    told = error["message"] + error["next"]
    assert all(w in told for w in words), error


@pytest.mark.parametrize(
    ("name", "key", "value", "text"),
    [("mistral", "sliding_window", 4096, TEXT), ("qwen3_moe", "norm_topk_prob", False, TEXT), ("qwen2", "max_window_layers", 28, TEXT)],
)
def test_keys_that_are_not_there_mean_what_transformers_takes(mc, tmp_path, name, key, value, text):
    changes = {"layer_types": None} if name == "qwen2" else {}
    said = logprobs(mc, as_directory(tmp_path / "said", name, **{key: value}, **changes), text)
    unsaid = as_directory(tmp_path / "unsaid", name, **changes)
    config = json.loads((unsaid / "config.json").read_text())
    config.pop(key)
    (unsaid / "config.json").write_text(json.dumps(config))
    assert logprobs(mc, unsaid, text) == said
    assert logprobs(mc, as_directory(tmp_path / "other", name), text) != said


def test_an_unknown_gguf_architecture_is_told_with_the_nearest(mc, tmp_path):
    w = gguf.GGUFWriter(tmp_path / "model.gguf", "gemma4")
    w.add_block_count(1)
    w.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    error = error_of(mc("score", "--model", tmp_path / "model.gguf", "--text", "a", "--output", "json"))
    assert "general.architecture" in error["message"] and "gemma4" in error["message"] and "'gemma" in error["next"], error


def test_longrope_takes_the_context_that_is_asked_for(mc, tmp_path):
    directory = as_directory(tmp_path / "dir", "phi3")
    error = error_of(mc("score", "--model", directory, "--text", TEXT * 2, "--output", "json"))
    assert "context" in error["message"], error
    mc("score", "--model", directory, "--text", TEXT * 2, "--context", "64", "--output", "json").json()
