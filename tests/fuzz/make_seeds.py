"""What fuzzers begin from: the goldens' files made small, and their words.

    python make_seeds.py FOLDER      writes FOLDER/X/* and FOLDER/X.dict for each fuzzer X_fuzz
"""

from __future__ import annotations

import io
import json
import re
import struct
import sys
import zlib
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parent.parent
GOLDEN = TESTS / "golden"
sys.path.insert(0, str(TESTS / "models"))
from chat_cases import SMALL, TEMPLATES  # noqa: E402


def gguf():
    yield "small", (GOLDEN / "gguf/small.gguf").read_bytes()


def small_vocabulary(j):
    """The file with its first tokens only, which is what mutations can be made in."""
    model = j["model"]
    added = {t["content"] for t in j.get("added_tokens") or []} | {model.get("unk_token")}
    if isinstance(model["vocab"], list):
        model["vocab"] = model["vocab"][:40]
        kept = {t for t, _ in model["vocab"]}
    else:
        kept = {t for t, i in sorted(model["vocab"].items(), key=lambda x: x[1])[:60]} | added
        kept = sorted(kept & set(model["vocab"]))
        model["vocab"] = {t: i for i, t in enumerate(kept)}
    merges = []
    for m in model.get("merges") or []:
        a, b = m.split(" ") if isinstance(m, str) else m
        if a in kept and b in kept and a + b in kept:
            merges.append([a, b])
    if "merges" in model:
        model["merges"] = merges
    for i, t in enumerate(j.get("added_tokens") or []):
        t["id"] = model["vocab"].get(t["content"], 60 + i) if isinstance(model["vocab"], dict) else 40 + i
    if isinstance(model["vocab"], list) and isinstance(model.get("unk_id"), int):
        model["unk_id"] = 0
    normalizer = json.dumps(j.get("normalizer"))
    if len(normalizer) > 4000:
        j["normalizer"] = {"type": "NFKC"}
    return j


def tokenizer_json():
    for path in sorted((GOLDEN / "tokenizers/json").glob("*.json")):
        j = small_vocabulary(json.loads(path.read_text()))
        yield path.stem, json.dumps(j, ensure_ascii=False).encode()
        j["post_processor"] = None
        yield path.stem + "-plain", json.dumps(j).encode()


def numpy():
    def saved(f, *a, **k):
        out = io.BytesIO()
        f(out, *a, **k)
        return out.getvalue()

    a = np.arange(6).reshape(2, 3)
    for i, x in enumerate([a, a.astype("f4").T, a.astype("c16"), np.float16(1), np.zeros((0, 3), "u1"), np.ones(4, bool)]):
        yield f"npy-{i}", b"\0" + saved(np.save, x)
    yield "npz", b"\1" + saved(np.savez, a=a, b=a.astype("f4"))
    yield "packed", b"\1" + saved(np.savez_compressed, a=a, b=np.zeros((50, 50)))
    for level, text in [(0, b"hello" * 3), (1, b"abc" * 99), (9, bytes(range(256)) * 3)]:
        packer = zlib.compressobj(level, wbits=-15)
        yield f"deflate-{level}", b"\2" + len(text).to_bytes(3, "little") + packer.compress(text) + packer.flush()


def safetensors():
    def file(header, data):
        h = json.dumps(header).encode()
        return struct.pack("<Q", len(h)) + h + data

    yield "one", file({"a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]}}, b"\0" * 8)
    yield "empty", file({"__metadata__": {"k": "v"}}, b"")
    kinds = {"BOOL": 1, "F8_E4M3": 1, "I16": 2, "BF16": 2, "F64": 8, "C64": 8, "U64": 8}
    header, at = {}, 0
    for k, n in sorted(kinds.items(), key=lambda x: -x[1]):
        header[k] = {"dtype": k, "shape": [1, 3], "data_offsets": [at, at + 3 * n]}
        at += 3 * n
    yield "kinds", file(header, bytes(at))


def directory():
    for path in sorted((GOLDEN / "transformers").glob("*.json")):
        j = json.loads(path.read_text())
        weights = (GOLDEN / "transformers" / (j["weights"] + ".safetensors")).read_bytes()
        yield path.stem, json.dumps(j["config"]).encode() + b"\0" + weights


def jinja():
    for i, t in enumerate([*TEMPLATES.values(), *SMALL]):
        yield str(i), t.encode()


def words(seeds):
    """Keys, names and signs that the seeds have."""
    found = set()
    for data in seeds:
        text = data[: data.find(b"\0")] if data[:1] == b"{" and b"\0" in data else data
        found.update(re.findall(rb'"[A-Za-z_]{2,30}"', text))
        found.update(re.findall(rb"\b[a-z_]{3,16}\b", text) if b"{%" in text or b"{{" in text else [])
    return sorted(found)[:600]


def main():
    out = Path(sys.argv[1])
    for make in (gguf, tokenizer_json, numpy, safetensors, directory, jinja):
        folder = out / make.__name__
        folder.mkdir(parents=True, exist_ok=True)
        seeds = dict(make())
        for name, data in seeds.items():
            (folder / name).write_bytes(data)
        lines = ['"' + "".join(f"\\x{b:02x}" for b in w) + '"\n' for w in words(seeds.values())]
        if make is jinja:
            lines += ['"{%"\n', '"%}"\n', '"{{"\n', '"}}"\n', '"-%}"\n', '"|"\n', '"["\n', '"]"\n', '"("\n', '")"\n']
        (out / f"{make.__name__}.dict").write_text("# words\n" + "".join(lines))  # libFuzzer takes no empty file


if __name__ == "__main__":
    main()
