"""What the user sees when something is wrong: exit codes, codes of errors, and a message that says what, where and what to do."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import numpy as np
import pytest
from conftest import error_of, model_path
from gguf import GGUFWriter

MISSING_ENGINES = {
    "mlx": "mlx is required for the MLX backend",
    "jax": "jax is required for the JAX backend",
    "cuda": "CUDA is required for the CUDA backend",
}


def score(mc, model, *arguments, **options):
    return mc("score", "--model", model, "--text", "Hello there", "--output", "json", *arguments, **options)


def write_gguf(path, architecture):
    writer = GGUFWriter(path, architecture)
    writer.add_uint32(f"{architecture}.block_count", 1)
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_missing_file(mc, tmp_path):
    path = tmp_path / "nowhere.gguf"
    error = error_of(score(mc, path))
    assert error["code"] == "MC-E0201"
    assert str(path) in error["message"] + error["where"]


def test_error_in_text_goes_to_stderr(mc, tmp_path):
    result = mc("score", "--model", tmp_path / "nowhere.gguf", "--text", "x")
    assert result.code == 1
    assert result.out == ""
    assert "MC-E0201" in result.err
    assert "nowhere.gguf" in result.err


def test_not_a_gguf(mc, tmp_path):
    path = tmp_path / "notes.gguf"
    path.write_bytes(b"This is a letter, not a model. " * 100)
    error = error_of(score(mc, path))
    assert error["code"] == "MC-E0205"
    assert "notes.gguf" in error["message"] + error["where"]


@pytest.mark.parametrize("size", [0, 3, 20, 1000, 5_000_000, -1])
def test_truncated_file(mc, tmp_path, size):
    whole = model_path("smollm2")
    kept = whole.stat().st_size + size if size < 0 else size
    path = tmp_path / "half.gguf"
    with whole.open("rb") as source:
        path.write_bytes(source.read(kept))
    error = error_of(score(mc, path))
    assert error["code"] in ("MC-E0205", "MC-E0206")
    assert "half.gguf" in error["message"] + error["where"]


def test_unknown_architecture_names_the_key_and_what_is_supported(mc, tmp_path):
    path = tmp_path / "other.gguf"
    write_gguf(path, "mamba9")
    error = error_of(score(mc, path))
    assert error["code"] == "MC-E0301"
    told = " ".join(error[key] for key in ("message", "where", "next"))
    for word in ("general.architecture", "mamba9", "llama", "gemma3"):
        assert word in told


def test_known_architecture_without_its_tensors(mc, tmp_path):
    path = tmp_path / "hollow.gguf"
    write_gguf(path, "llama")
    error = error_of(score(mc, path))
    assert error["code"].startswith("MC-E03")


def test_folder_as_model(mc, tmp_path):
    error_of(score(mc, tmp_path))


@pytest.mark.parametrize(
    "arguments",
    [
        ["score", "--no-such-option"],
        ["score", "--model"],
        ["score", "--text", "x"],
        ["no-such-command"],
        ["score", "--model", "m.gguf", "--text", "x", "--threads", "many"],
        ["score", "--model", "m.gguf", "--text", "x", "--threads", "-1"],
        ["score", "--model", "m.gguf", "--text", "x", "--precision", "best"],
        ["score", "--model", "m.gguf", "--text", "x", "--output", "xml"],
    ],
    ids=lambda a: " ".join(a[-2:]),
)
def test_bad_usage_is_exit_2(mc, arguments):
    result = mc(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert "--help" in result.err


def test_bad_option_in_json(mc):
    error = error_of(mc("score", "--model", "m.gguf", "--text", "x", "--threads", "many", "--output", "json"), 2)
    assert error["code"] == "MC-E0001"
    assert "--threads" in error["message"] + error["where"]
    assert "many" in error["message"]


def test_unknown_backend(mc):
    error = error_of(score(mc, model_path("smollm2"), "--backend", "abacus"))
    assert error["code"] == "MC-E0401"
    assert "abacus" in error["message"]
    assert "numpy" in error["message"] + error["next"]


def test_two_settings_that_differ(mc):
    error = error_of(score(mc, model_path("smollm2"), env={"MODELCYPHER_BACKEND": "numpy", "MC_BACKEND": "jax"}))
    assert error["code"] == "MC-E0403"
    told = error["message"] + error["where"]
    assert "MODELCYPHER_BACKEND" in told
    assert "MC_BACKEND" in told


@pytest.mark.parametrize("variable", ["MODELCYPHER_BACKEND", "MC_BACKEND"])
def test_backend_from_the_environment(mc, variable):
    assert score(mc, model_path("smollm2"), env={variable: "numpy"}).json()["backend"] == "numpy"
    error = error_of(score(mc, model_path("smollm2"), env={variable: "abacus"}))
    assert error["code"] == "MC-E0401"
    assert variable in error["message"] + error["where"]


@pytest.mark.parametrize("engine", sorted(MISSING_ENGINES))
def test_missing_engine_in_the_guides_words(mc, engine):
    listed = mc("backends", "--output", "json").json()
    available = {row["name"]: row["available"] for row in listed["backends"]}
    if available[engine]:
        pytest.skip(f"{engine} is here")
    error = error_of(score(mc, model_path("smollm2"), "--backend", engine))
    assert error["code"] == "MC-E0402"
    assert error["message"].startswith(MISSING_ENGINES[engine])


def test_unknown_instruction_set_is_refused(mc):
    error_of(score(mc, model_path("smollm2"), env={"MC_SIMD": "mmx"}))


def test_ctrl_c_keeps_the_tokens_that_are_there(mc):
    start = time.monotonic()
    result = mc("infer", "--model", model_path("smollm2"), "--prompt", "1, 2, 3, 4,", "--max-tokens", 6000, "--output", "json",
                interrupt_when=lambda: time.monotonic() - start > 2)  # fmt: skip
    assert result.code == 130, result.err[-1000:]
    told = json.loads(result.out)
    assert told["schema"] == "mc.infer/1" and told["stop_reason"] == "interrupted"
    assert 0 < len(told["ids"]) < 6000 and told["text"].startswith(" 5, 6, 7")


def test_no_tokens_asked_for_is_no_speed_told(mc):
    result = mc("infer", "--model", model_path("smollm2"), "--prompt", "1, 2,", "--max-tokens", 0)
    assert result.code == 0 and "stopped by max_tokens" in result.err
    assert "prefill" not in result.err and "first token" not in result.err


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["score", "--help"], ["probe", "capture", "--help"]])
def test_help_and_version(mc, arguments):
    result = mc(*arguments)
    assert result.code == 0
    assert result.out.strip()
    if arguments[-1] == "--help":
        for code in ("0", "1", "2", "3", "130"):
            assert code in result.out


def next_step(result):
    """The error's text and its next step, of a command that failed."""
    error = error_of(result)
    return error["where"] + " " + error["message"], error["next"]


def test_next_steps_fit_what_was_wrong(mc, tmp_path):
    data = tmp_path / "short.jsonl"
    data.write_text('{"text": "Hello there"}\n')
    what, then = next_step(mc("probe", "capture", "--model", model_path("smollm2"), "--data", data, "--layers", "0",
                              "--positions", "500", "--out", tmp_path / "out", "--output", "json"))  # fmt: skip
    assert "2 tokens, position 500" in what and "0-499 is cut" in then
    what, then = next_step(mc("probe", "cka", tmp_path, "--output", "json"))
    assert "holds no capture" in what and str(tmp_path) in what and "--out" in then
    what, then = next_step(score(mc, tmp_path))
    assert "no config.json" in what and "*.safetensors" in then
    np.save(tmp_path / "one.npy", np.ones((1, 5), np.float32))
    assert next_step(mc("probe", "neighbours", tmp_path / "one.npy", "--output", "json"))[1] == "give two samples or more"
    np.save(tmp_path / "three.npy", np.ones((6, 4, 5), np.float32))
    np.savez(tmp_path / "three.npz", three=np.ones((6, 4, 5), np.float32))
    for name in ("three.npy", "three.npz"):
        what, then = next_step(mc("probe", "rank", tmp_path / name, "--output", "json"))
        assert "[6, 4, 5]" in what.replace("(", "[").replace(")", "]") and "(samples, features)" in then


@pytest.mark.parametrize("edit, what", [
    ({"kind": "scale", "site": "q.0", "factr": 2}, "no use for 'factr'"),
    ({"kind": "scale"}, "has no site"),
])  # fmt: skip
def test_a_wrong_edit_in_json_is_shown_json(mc, tmp_path, edit, what):
    (tmp_path / "e.json").write_text(json.dumps([edit]))
    told, then = next_step(score(mc, model_path("smollm2"), "--edits", tmp_path / "e.json"))
    assert what in told and '"site": "resid_post.12"' in then
    told, then = next_step(score(mc, model_path("smollm2"), "--edit", "scale q.0 factr=2"))
    assert "KIND SITES" in then


def test_backends_fails_where_nothing_could_be_chosen(mc):
    result = mc("backends", env={"MODELCYPHER_BACKEND": "numpy", "MC_BACKEND": "mlx"})
    assert result.code == 1 and "set only one of them" in result.out
    assert mc("backends").code == 0


def test_ctrl_c_ends_the_wait_for_a_text(mc):
    """Nobody writes into the pipe: one Ctrl-C is enough."""
    p = subprocess.Popen([mc.path, "score", "--model", model_path("smollm2"), "--file", "-"], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    time.sleep(1)
    assert p.poll() is None
    p.send_signal(signal.SIGINT)
    try:
        assert p.wait(10) == 130
    finally:
        p.kill()
        p.communicate()
