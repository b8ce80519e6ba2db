"""`mc score` and `mc infer` on the two real models against the float64 goldens, and the same bits however they are run."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from conftest import GOLDEN, bits_of, error_of, golden, model_path, simd_levels

TOLERANCE = 2e-3  # nats, the project's promise for full precision
SHORT = "Birds fly south when winter comes."
CASES = [(name, case["name"]) for name in ("smollm2", "gemma3") for case in golden(name)["scored"]]


def case_of(name, label):
    return next(case for case in golden(name)["scored"] if case["name"] == label)


def score(mc, name, *arguments, **options):
    return mc("score", "--model", model_path(name), "--output", "json", *arguments, **options)


def text_arguments(case):
    return ["--text", case["text"]] + (["--special"] if case["special"] else [])


def values(result):
    return [token["logprob"] for token in result["tokens"]], result["nll"]


@pytest.mark.parametrize("name,label", CASES)
def test_logprobs_and_ids(mc, name, label):
    case = case_of(name, label)
    result = score(mc, name, *text_arguments(case), "--precision", "highest").json()
    assert result["schema"] == "mc.score/1"
    assert (result["backend"], result["precision"]) == ("numpy", "highest")
    assert [token["id"] for token in result["tokens"]] == case["ids"]
    assert result["tokens"][0]["logprob"] is None
    assert len(result["tokens"]) == len(case["logprobs"])
    if len(case["ids"]) < 2:
        return
    ours = np.array([token["logprob"] for token in result["tokens"][1:]])
    error = np.abs(ours - np.array(case["logprobs"][1:]))
    print(f"{name} {label}: |logprob error| mean {error.mean():.1e} max {error.max():.1e}")
    assert error.max() <= TOLERANCE, f"token {int(error.argmax()) + 1}"
    assert result["nll"] == pytest.approx(case["nll"], abs=TOLERANCE)
    assert result["nll"] == pytest.approx(-ours.mean(), rel=1e-5)
    assert result["perplexity"] == pytest.approx(math.exp(result["nll"]), rel=1e-5)


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
@pytest.mark.parametrize("label", ["prose", "code"])
def test_token_texts_join_to_the_text(mc, name, label):
    case = case_of(name, label)
    tokens = score(mc, name, *text_arguments(case)).json()["tokens"]
    skip = 1 if golden(name)["adds_bos"] else 0
    assert "".join(token["text"] for token in tokens[skip:]) == case["text"]


@pytest.mark.parametrize("precision", ["highest", "fast"])
@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_bits_are_those_of_every_machine(mc, name, precision):
    # Machines of other kinds check each other: whoever changes a bit on purpose writes the file again
    # (tests/golden/make_score_bits.py) and says so in CHANGELOG.md.
    result = score(mc, name, "--text", case_of(name, "story")["text"], "--precision", precision).json()
    assert bits_of(result) == json.loads((GOLDEN / "score_bits.json").read_text())[name][precision]


def test_special_tokens_only_when_asked(mc):
    case = case_of("smollm2", "chat")
    plain = score(mc, "smollm2", "--text", case["text"]).json()
    assert len(plain["tokens"]) > len(case["ids"])
    assert not {1, 2} & {token["id"] for token in plain["tokens"]}


@pytest.mark.parametrize("name,index", [(name, i) for name in ("smollm2", "gemma3") for i in range(3)])
def test_greedy_continuation(mc, name, index):
    case = golden(name)["greedy"][index]
    assert min(case["gaps"]) > 2 * TOLERANCE, "a tie within the tolerance can't be judged"
    result = mc(
        "infer", "--model", model_path(name), "--prompt", case["prompt"], "--max-tokens", len(case["chosen"]),
        "--temperature", 0, "--output", "json",
    ).json()  # fmt: skip
    assert result["ids"] == case["chosen"]


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_fast_is_fast_and_bounded(mc, name):
    # llama.cpp's int8 activations cost 0.05-0.12 nats of mean and up to 1.5 of maximum on these models.
    case = case_of(name, "story")
    result = score(mc, name, *text_arguments(case), "--precision", "fast").json()
    assert result["precision"] == "fast"
    error = np.abs(np.array([t["logprob"] for t in result["tokens"][1:]]) - np.array(case["logprobs"][1:]))
    print(f"{name} fast: |logprob error| mean {error.mean():.3f} max {error.max():.3f}")
    assert error.mean() <= 0.12
    assert error.max() <= 1.5
    assert error.mean() > TOLERANCE, "int8 activations can't be this exact: the option was ignored"


# Half a unit in the last place: of 8 and of 11 bits.
UNIT = {"bf16": 2.0**-9, "f16": 2.0**-12}


def half_bound(name, dtype):
    """Nats of rms error that activations in `dtype` may cost.

    Each block rounds about 14 results (norms, projections, rope, attention, gate, the two sums). An error of unit/sqrt(3) rms each,
    independent of the others, adds in quadrature over the blocks to a relative error r of the last hidden state; a logprob is a
    logit minus an average of logits, each a dot with an error of r times the logits' spread, which is 3 to 4 nats in these models.
    A factor 2 stands for what norms and attention amplify.
    """
    blocks = {"smollm2": 30, "gemma3": 18}[name]
    return 2 * 4 * math.sqrt(14 * blocks) * UNIT[dtype] / math.sqrt(3)


def logprob_error(mc, name, label, *arguments):
    case = case_of(name, label)
    result = score(mc, name, *text_arguments(case), *arguments).json()
    return result, np.array([t["logprob"] for t in result["tokens"][1:]]) - np.array(case["logprobs"][1:])


@pytest.mark.parametrize("name,dtype", [("smollm2", "bf16"), ("smollm2", "f16"), ("gemma3", "bf16")])
def test_half_activations_are_bounded(mc, name, dtype):
    result, error = logprob_error(mc, name, "story", "--dtype", dtype)
    assert (result["dtype"], result["precision"]) == (dtype, "highest")
    rms = math.sqrt(np.mean(error**2))
    print(f"{name} {dtype}: |logprob error| rms {rms:.1e} max {np.abs(error).max():.1e} bound {half_bound(name, dtype):.1e}")
    assert rms <= half_bound(name, dtype)
    assert rms > TOLERANCE / 2, "rounded activations can't be this exact: the option was ignored"


def test_half_errors_scale_with_their_unit(mc):
    # The same places round, with units 8 apart: between 4 and 16, or one of them rounds elsewhere than it says.
    rms = {d: math.sqrt(np.mean(logprob_error(mc, "smollm2", "story", "--dtype", d)[1] ** 2)) for d in ("bf16", "f16")}
    assert 4 <= rms["bf16"] / rms["f16"] <= 16, rms


@pytest.mark.parametrize("name,dtype", [("smollm2", "bf16"), ("smollm2", "f16"), ("gemma3", "bf16")])
def test_half_same_bits(mc, name, dtype, tmp_path):
    text = case_of(name, "prose")["text"]
    arguments = ["--text", text, "--dtype", dtype]
    base = values(score(mc, name, *arguments, "--threads", 1).exact_json())
    assert values(score(mc, name, *arguments, "--threads", 2).exact_json()) == base
    assert values(score(mc, name, *arguments, "--threads", 2, "--chunk", 7).exact_json()) == base
    for level in simd_levels():
        assert values(score(mc, name, *arguments, env={"MC_SIMD": level}, timeout=600).exact_json()) == base, level
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": t}) + "\n" for t in (SHORT, text, SHORT + text)))
    batch = score(mc, name, "--file", file, "--batch-size", 3, "--dtype", dtype).exact_json()
    assert values(batch["results"][1]) == base


@pytest.mark.parametrize("command", ["score", "infer", "bench"])
def test_overflow_of_half_is_an_error(mc, command):
    """gemma-3's residual stream passes 65504."""
    what = {"score": ["--text", SHORT], "infer": ["--prompt", SHORT], "bench": ["--gen-tokens", 2, "--prompt-tokens", 8]}
    error = error_of(mc(command, "--model", model_path("gemma3"), *what[command], "--dtype", "f16", "--output", "json"))
    assert "float16" in error["message"]
    assert "bf16" in error["next"]


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_infer_in_half(mc, dtype):
    arguments = ["--model", model_path("smollm2"), "--prompt", "The capital of France is", "--max-tokens", 8, "--dtype", dtype]
    greedy = mc("infer", *arguments, "--output", "json").json()
    assert greedy["dtype"] == dtype
    assert "Paris" in greedy["text"]
    sampled = mc("infer", *arguments, "--temperature", 0.7, "--seed", 3, "--output", "json").json()
    assert len(sampled["ids"]) == 8


@pytest.mark.parametrize("precision", ["highest", "fast"])
@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_same_bits_for_threads_and_chunks(mc, name, precision):
    arguments = ["--text", case_of(name, "prose")["text"], "--precision", precision]
    base = values(score(mc, name, *arguments, "--threads", 1).exact_json())
    assert values(score(mc, name, *arguments, "--threads", 2).exact_json()) == base
    assert values(score(mc, name, *arguments, "--threads", 2, "--chunk", 7).exact_json()) == base
    assert values(score(mc, name, *arguments, "--threads", 1, "--chunk", 1).exact_json()) == base


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_same_bits_for_chunks_past_attention_tiles_and_window(mc, name):
    case = golden(name)["scored"][-1] if name == "gemma3" else case_of(name, "story")
    base = values(score(mc, name, *text_arguments(case)).exact_json())
    assert values(score(mc, name, *text_arguments(case), "--chunk", 100).exact_json()) == base


@pytest.mark.parametrize("precision", ["highest", "fast"])
@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_same_bits_for_instruction_sets(mc, name, precision):
    levels = simd_levels()
    if len(levels) == 1:
        pytest.skip("this machine has scalar code only")
    results = {}
    for level in levels:
        result = score(mc, name, "--text", SHORT, "--precision", precision, env={"MC_SIMD": level}, timeout=600)
        results[level] = values(result.exact_json())
    for level in levels[1:]:
        assert results[level] == results["scalar"], level


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_same_bits_alone_and_in_a_batch(mc, name, tmp_path):
    texts = [case_of(name, label)["text"] for label in ("prose", "one_token", "scripts", "plain_markers")] + [SHORT]
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    alone = [values(score(mc, name, "--text", text).exact_json()) for text in texts]
    for size in (1, 4):
        result = score(mc, name, "--file", file, "--batch-size", size).exact_json()
        assert [values(one) for one in result["results"]] == alone, f"batch of {size}"


def test_runs_print_the_same_twice(mc):
    first, second = (score(mc, "smollm2", "--text", SHORT) for _ in range(2))
    assert first.code == 0
    assert first.out == second.out
