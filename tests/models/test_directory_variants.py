"""Tiny random Hugging Face directories: scores against the float64 reference, ids against `tokenizers`, and refusals of variants."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, error_of
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

sys.path.insert(0, str(ROOT / "tests" / "golden"))
from reference.gemma3 import Gemma3  # noqa: E402
from reference.llama import Llama  # noqa: E402

WIDTH, FFN, VOCABULARY = 32, 64, 258
TEXT = "abcdefgh 12 it's " * 3
BYTES = sorted(ByteLevel.alphabet())
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}
MODEL = {"type": "BPE", "byte_fallback": False, "ignore_merges": False,
         "vocab": {t: i for i, t in enumerate([*BYTES, "12", "<bos>"])}, "merges": [["1", "2"]]}  # fmt: skip
TOKENIZER = {"version": "1.0", "normalizer": None, "pre_tokenizer": BYTE_LEVEL, "post_processor": None, "decoder": None,
             "added_tokens": [{"id": 257, "content": "<bos>", "single_word": False, "lstrip": False, "rstrip": False,
                               "normalized": False, "special": True}], "model": MODEL}  # fmt: skip
LLAMA = {"model_type": "llama", "num_hidden_layers": 2, "hidden_size": WIDTH, "num_attention_heads": 2, "num_key_value_heads": 1,
         "intermediate_size": FFN, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 1e4,
         "hidden_act": "silu"}  # fmt: skip
GEMMA = LLAMA | {"model_type": "gemma3_text", "num_hidden_layers": 7, "head_dim": 8, "sliding_window": 5, "rope_theta": 1e6,
                 "rope_local_base_freq": 1e4, "query_pre_attn_scalar": 8, "hidden_activation": "gelu_pytorch_tanh",
                 "layer_types": ["sliding_attention"] * 5 + ["full_attention", "sliding_attention"]}  # fmt: skip
PARTS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
         "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}  # fmt: skip
GEMMA_PARTS = PARTS | {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
                       "post_feedforward_layernorm": "post_ffw_norm", "self_attn.q_norm": "attn_q_norm",
                       "self_attn.k_norm": "attn_k_norm"}  # fmt: skip
WHOLE = {"embed_tokens": "token_embd", "norm": "output_norm"}


def split(digits, **changes):
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|" + digits
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )  # fmt: skip
    cut = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False} | changes
    return {"type": "Sequence", "pretokenizers": [cut, BYTE_LEVEL | {"use_regex": False}]}


def weights(config, parts):
    rng = np.random.default_rng(5)
    dim = config.get("head_dim", 16)
    sizes = {"attn_q": (2 * dim, WIDTH), "attn_k": (dim, WIDTH), "attn_v": (dim, WIDTH), "attn_output": (WIDTH, 2 * dim),
             "ffn_gate": (FFN, WIDTH), "ffn_up": (FFN, WIDTH), "ffn_down": (WIDTH, FFN), "attn_q_norm": (dim,),
             "attn_k_norm": (dim,)}  # fmt: skip
    shapes = {"model.embed_tokens.weight": (VOCABULARY, WIDTH), "model.norm.weight": (WIDTH,)}
    for layer in range(config["num_hidden_layers"]):
        shapes |= {f"model.layers.{layer}.{hf}.weight": sizes.get(name, (WIDTH,)) for hf, name in parts.items()}
    return {name: (0.3 * rng.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}


def directory(path: Path, config, tokenizer=TOKENIZER, parts=PARTS, settings=None, extra=None):
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    (path / "tokenizer_config.json").write_text(json.dumps(settings or {}))
    header, data = {}, b""
    for name, a in (weights(config, parts) | (extra or {})).items():
        header[name] = {"dtype": "F32", "shape": list(a.shape), "data_offsets": [len(data), len(data) + a.nbytes]}
        data += a.tobytes()
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + data)
    return path


def scored(mc, path, text=TEXT):
    return mc("score", "--model", path, "--text", text, "--output", "json").json()["tokens"]


class InGgufTerms:
    """What the reference reads: the directory's weights as llama.cpp's converter would store them."""

    def __init__(self, config, parts):
        gemma = config["model_type"] == "gemma3_text"
        self.values = {"embedding_length": WIDTH, "block_count": config["num_hidden_layers"], "attention.head_count": 2,
                       "attention.head_count_kv": 1, "attention.layer_norm_rms_epsilon": 1e-5,
                       "attention.key_length": config.get("head_dim", 16), "rope.freq_base": config["rope_theta"],
                       "attention.sliding_window": config.get("sliding_window"), "rope.freq_base_swa": 1e4}  # fmt: skip
        self.tensors = {}
        for name, a in weights(config, parts).items():
            words = name.removesuffix(".weight").split(".", 3)
            part = parts[words[3]] if words[1] == "layers" else WHOLE[words[1]]
            if not gemma and part in ("attn_q", "attn_k"):
                a = a.reshape(-1, 2, 8, WIDTH).swapaxes(1, 2).reshape(a.shape)
            a = a.astype(np.float64) + (1 if gemma and a.ndim == 1 else 0)
            self.tensors[f"blk.{words[2]}.{part}.weight" if words[1] == "layers" else f"{part}.weight"] = a

    def get(self, key, default=None):
        return default

    def hyper(self, name, default=None):
        return self.values.get(name, default)

    def has(self, name):
        return name in self.tensors

    def rows(self, name, start=None, stop=None):
        return self.tensors[name][start:stop]

    def row_count(self, name):
        return len(self.tensors[name])

    def take_rows(self, name, indices):
        return self.tensors[name][np.asarray(indices)]


@pytest.mark.parametrize(("config", "parts", "family"), [(LLAMA, PARTS, Llama), (GEMMA, GEMMA_PARTS, Gemma3)])
def test_scores_are_the_references(mc, tmp_path, config, parts, family):
    tokens = scored(mc, directory(tmp_path, config, parts=parts))
    want = family(InGgufTerms(config, parts)).token_logprobs([t["id"] for t in tokens])
    # float32 sums of up to 64 products through 2 and 7 layers
    np.testing.assert_allclose([t["logprob"] for t in tokens[1:]], want[1:], atol=2e-5)


def test_mistral_sees_its_window_only(mc, tmp_path):
    config = LLAMA | {"model_type": "mistral", "num_hidden_layers": 1, "sliding_window": 4}
    path = directory(tmp_path, config)
    a, b = (np.array([t["logprob"] for t in scored(mc, path, text)[1:]]) for text in ("abcdefghijkl", "zbcdefghijkl"))
    np.testing.assert_array_equal(a != b, [True] * 4 + [False] * 7)


BOS = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
       "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
       "special_tokens": {"<bos>": {"id": "<bos>", "ids": [257], "tokens": ["<bos>"]}}}  # fmt: skip


@pytest.mark.parametrize("change", [
    {}, {"post_processor": BOS}, {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [DIGITS, BYTE_LEVEL]}},
    {"pre_tokenizer": split(r"\p{N}")},
    {"pre_tokenizer": split(r"\p{N}{1,3}"), "model": MODEL | {"ignore_merges": True},
     "post_processor": {"type": "Sequence", "processors": [BYTE_LEVEL, BOS]}},
    {"pre_tokenizer": BYTE_LEVEL | {"use_regex": False}},
    {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [DIGITS | {"individual_digits": False}, BYTE_LEVEL]}},
    {"pre_tokenizer": split(r"\p{N}", invert=True)},
    {"pre_tokenizer": split(r"\p{N}{1,3}")},
])  # fmt: skip
def test_ids_are_those_of_tokenizers(mc, tmp_path, change):
    path = directory(tmp_path, LLAMA, TOKENIZER | change)
    text = "It's 12 o'clock: 12345\n\n  naïve 日本 🙂 "
    want = Tokenizer.from_file(str(path / "tokenizer.json")).encode(text).ids
    assert [t["id"] for t in scored(mc, path, text)] == want


def test_settings_decide_about_the_first_token(mc, tmp_path):
    path = directory(tmp_path, LLAMA, TOKENIZER | {"post_processor": BOS}, settings={"add_bos_token": False})
    assert scored(mc, path, "ab")[0]["id"] != 257


@pytest.mark.parametrize(("config", "change", "word"), [
    (LLAMA | {"hidden_act": "gelu"}, {}, "activation"),
    (GEMMA | {"hidden_activation": "gelu"}, {}, "activation"),
    (GEMMA | {"query_pre_attn_scalar": 9}, {}, "query_pre_attn_scalar"),
    (GEMMA | {"use_bidirectional_attention": True}, {}, "use_bidirectional_attention"),
    (GEMMA | {"layer_types": ["full_attention"] * 2 + ["sliding_attention"] * 5}, {}, "layer_types"),
    (LLAMA, {"pre_tokenizer": split(r"(\p{N})\1")}, "\\1"),
    (LLAMA, {"pre_tokenizer": {"type": "UnicodeScripts"}}, "UnicodeScripts"),
    (LLAMA, {"post_processor": {"type": "RobertaProcessing"}}, "RobertaProcessing"),
])  # fmt: skip
def test_variants_that_would_change_the_answer_are_refused(mc, tmp_path, config, change, word):
    parts = GEMMA_PARTS if config["model_type"] == "gemma3_text" else PARTS
    path = directory(tmp_path, config, TOKENIZER | change, parts)
    assert word in error_of(mc("score", "--model", path, "--text", "a", "--output", "json"))["message"]


@pytest.mark.parametrize("key, value", [("hidden_size", 0), ("num_hidden_layers", 5000), ("max_position_embeddings", 0)])
def test_a_number_out_of_range_is_named_as_the_file_names_it(mc, tmp_path, key, value):
    path = directory(tmp_path / "model", LLAMA)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {key: value}))
    error = error_of(mc("score", "--model", path, "--text", TEXT, "--output", "json"))
    assert error["code"] == "MC-E0302" and f"the key {key} " in error["message"]


def test_names_of_files_reach_no_terminal(mc, tmp_path):
    path = directory(tmp_path, LLAMA, extra={"\x1b[2J\u009bx": np.ones(3, np.float32)})
    info, error = mc("model", "info", path, "--tensors"), mc("score", "--model", path, "--text", "a")
    assert info.code == 0 and error.code == 1
    for told in (info.out, error.err):
        assert "\\x1b[2J\\x9bx" in told and "\x1b" not in told and "\u009b" not in told
