"""A tokenizer.json gives the ids, offsets and text of the `tokenizers` package, on texts of many scripts, for every family."""

from __future__ import annotations

import copy
import functools
import json
import os
import random
import sys
from pathlib import Path

import pytest
from conftest import error_of, model_path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "golden"))
from make_tokenizers import FAMILIES, build, everything  # noqa: E402

# The long proof takes more than a megabyte of text for each family.
FULL = os.environ.get("MC_TEST_FULL") == "1"
BYTES = 1_200_000 if FULL else 60_000


@functools.cache
def text_for(family):
    """Another one for each family, the same in every run."""
    return "".join(everything(BYTES, seed=sum(family.encode()) if FULL else 7))


@functools.cache
def training_lines():
    return [line for piece in everything(150_000, seed=3) for line in piece.split("\n") if line]


def byte_offsets(text, offsets):
    at = [0]
    for c in text:
        at.append(at[-1] + len(c.encode()))
    return [(at[a], at[b]) for a, b in offsets]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder, known = tmp_path_factory.mktemp("tokenizers"), {}

    def make(name):
        if name not in known:
            known[name] = build(name, training_lines(), 6000 if FULL else 1200, full=True)
            (folder / name).mkdir()
            known[name].save(str(folder / name / "tokenizer.json"))
        return known[name], folder / name / "tokenizer.json"

    return make


def tokens_of(mc, path, text, tmp_path, *arguments):
    file = tmp_path / "text"
    file.write_bytes(text.encode())
    told = mc("tokenize", "--model", path, "--file", file, "--offsets", "--output", "json", *arguments).json()
    assert told["kind"] == "tokenizer.json" and told["count"] == len(told["tokens"])
    return [t["id"] for t in told["tokens"]], [(t["begin"], t["end"]) for t in told["tokens"]]


@pytest.mark.parametrize("family", FAMILIES)
def test_ids_and_offsets_are_those_of_the_package(mc, made, tmp_path, family):
    tokenizer, path = made(family)
    text = text_for(family)
    assert len(text.encode()) >= BYTES
    expected = tokenizer.encode(text, add_special_tokens=False)
    ids, spans = tokens_of(mc, path, text, tmp_path, "--special", "--bos", "no", "--eos", "no")
    offsets = byte_offsets(text, expected.offsets)
    first = next((i for i, (a, b) in enumerate(zip(ids, expected.ids)) if a != b), None)
    assert first is None, f"token {first}: {ids[first - 2 : first + 3]} for {expected.ids[first - 2 : first + 3]} at {offsets[first]}"
    assert len(ids) == len(expected.ids)
    first = next((i for i, (a, b) in enumerate(zip(spans, offsets)) if a != b), None)
    assert first is None, f"token {first}: {spans[first]} for {offsets[first]}"


@pytest.mark.parametrize("family", FAMILIES)
def test_short_texts_and_their_way_back(mc, made, tmp_path, family):
    tokenizer, path = made(family)
    texts = ["", " ", "\u3000a", "a", "Hello  there, the fox's É!", "\n\n<b> x\n", "ﬁ ½ ㌔ 　e\u0301"]
    texts.append("<|begin_of_text|>hi<|end_of_text|> [SEP] </s>")
    for text in texts:
        expected = tokenizer.encode(text)
        ids, spans = tokens_of(mc, path, text, tmp_path, "--special")
        assert ids == expected.ids, text
        assert spans == byte_offsets(text, expected.offsets), text
        if not ids:
            continue
        listed = ",".join(map(str, ids))
        for special in (False, True):
            told = mc("tokenize", "--model", path, "--decode", listed, "--output", "json", *(["--special"] if special else []))
            assert told.json()["text"] == tokenizer.decode(ids, skip_special_tokens=not special), text


def test_control_tokens_are_text_unless_asked_for(mc, made, tmp_path):
    tokenizer, path = made("llama3")
    end = tokenizer.token_to_id("<|end_of_text|>")
    plain, _ = tokens_of(mc, path, "a<|end_of_text|>", tmp_path, "--eos", "no")
    special, _ = tokens_of(mc, path, "a<|end_of_text|>", tmp_path, "--eos", "no", "--special")
    assert end not in plain and special[-1] == end


def test_truncation_is_told_not_done(mc, made, tmp_path):
    tokenizer, path = made("bert")
    cut = json.loads(path.read_text())
    cut["truncation"] = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    cut["padding"] = {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
                      "pad_token": "[UNK]"}  # fmt: skip
    other = tmp_path / "tokenizer.json"
    other.write_text(json.dumps(cut))
    text = "one two three four five six seven eight nine ten"
    result = mc("tokenize", "--model", other, "--text", text, "--output", "json")
    assert [t["id"] for t in result.json()["tokens"]] == tokenizer.encode(text).ids
    assert "nothing was cut" in result.err and "8 tokens" in result.err


def test_what_is_not_read_is_named(mc, made, tmp_path):
    _, path = made("gpt2")
    whole = json.loads(path.read_text())
    for change, word in [
        ({"model": {"type": "WordOracle", "vocab": {"a": 0}, "unk_token": "a"}}, "WordOracle"),
        ({"normalizer": {"type": "Unheard"}}, "Unheard"),
        ({"pre_tokenizer": {"type": "UnicodeScripts"}}, "UnicodeScripts"),
        ({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a)\\1"}, "behavior": "Isolated", "invert": False}}, "(a)"),
        ({"decoder": {"type": "CTC"}}, "CTC"),
        ({"post_processor": {"type": "Odd"}}, "Odd"),
        ({"model": whole["model"] | {"dropout": 0.1}}, "dropout"),
        ({"added_tokens": [{"id": 3_000_000, "content": "far", "special": True}]}, "3000000"),
    ]:
        bad = tmp_path / "tokenizer.json"
        bad.write_text(json.dumps(whole | change))
        error = error_of(mc("tokenize", "--model", bad, "--text", "a", "--output", "json"))
        assert error["code"] == "MC-E0304" and word in error["message"], error


def mutate(r, j):
    """One change anywhere in a tree of JSON."""
    places = []

    def walk(x):
        if isinstance(x, dict):
            places.extend((x, k) for k in x)
            for k in list(x)[:50]:
                walk(x[k])
        elif isinstance(x, list):
            places.extend((x, i) for i in range(min(len(x), 50)))
            for y in x[:50]:
                walk(y)

    walk(j)
    holder, key = r.choice(places)
    if r.random() < 0.2:
        del holder[key]
    else:
        others = [None, True, -1, 2**40, 1e300, "", "▁", "\u0000", [], [[]], {}, {"type": "Sequence"}, {"Regex": "(((a*)*)*)*b"}]
        holder[key] = r.choice(others)


def test_hostile_files_give_errors_and_nothing_else(mc, made, tmp_path):
    r, codes = random.Random(11), set()
    for k in range(400 if FULL else 120):
        _, path = made(list(FAMILIES)[k % len(FAMILIES)])
        j = copy.deepcopy(json.loads(path.read_text()))
        vocabulary = j["model"].pop("vocab")
        for _ in range(r.randint(1, 3)):
            mutate(r, j)
        if isinstance(j.get("model"), dict):
            j["model"].setdefault("vocab", vocabulary)
        bad = tmp_path / "tokenizer.json"
        bad.write_text(json.dumps(j))
        result = mc("tokenize", "--model", bad, "--text", "Hello the fox, É  x 12 ab", "--output", "json", "--offsets", timeout=20)
        assert result.code in (0, 1), (k, result.code, result.err[-500:])
        if result.code == 1:
            codes.add(error_of(result)["code"])
    assert codes and codes <= {"MC-E0205", "MC-E0304"}, codes


def test_offsets_of_the_real_models(mc, tmp_path):
    text = "".join(everything(20_000, seed=5))
    text = "".join(c for c in text if ord(c) >= 32 or c in "\n\t")  # SmolLM2 lacks tokens of some control characters
    (tmp_path / "text").write_bytes(text.encode())
    whole = text.encode()
    for name in ("smollm2", "gemma3"):
        told = mc("tokenize", "--model", model_path(name), "--file", tmp_path / "text", "--offsets", "--output", "json").json()
        end = 0
        for t in told["tokens"]:
            if t["special"]:
                assert t["begin"] == t["end"] == 0
                continue
            assert t["begin"] <= end <= t["end"] or t["begin"] == end, (name, t, end)
            part = whole[t["begin"] : t["end"]].decode()  # whole characters
            if "\ufffd" not in t["text"]:
                assert t["text"] in (part, " " + part, part.replace("\u2581", " "))
            end = max(end, t["end"])
        assert end == len(whole)
