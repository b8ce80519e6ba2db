"""MB/s of tokenizer.json files beside the `tokenizers` package, one thread each, in the same run.

usage: tokenizer_peers.py TOKENIZER_BENCH [FAMILY ...]      the program of bench/tokenizer_bench.cpp
The families are those of tests/golden/make_tokenizers.py with 6,000 tokens. Two texts: 1 MB of many scripts at random, and this
repository's documents, repeated to 1 MB.
"""
from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "golden"))
from make_tokenizers import FAMILIES, build, everything  # noqa: E402

ROUNDS = 3


def rate(text: str, f: Callable[[str], object]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        f(text)
        seconds.append(time.perf_counter() - begin)
    return len(text.encode()) / 1e6 / min(seconds)


def main() -> None:
    documents = "\n".join(p.read_text() for p in sorted((ROOT / "docs").glob("*.md")))
    texts = {"documents": documents * (1_000_000 // len(documents.encode()) + 1), "many scripts": "".join(everything(1_000_000))}
    lines = [line for piece in [*everything(150_000, seed=3), documents] for line in piece.split("\n") if line]
    print("| family | text | mc, ids | mc, with spans | tokenizers | mc / tokenizers |\n|---|---|---|---|---|---|")
    for family in sys.argv[2:] or FAMILIES:
        tokenizer = build(family, lines, 6000, full=True)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "tokenizer.json")
            tokenizer.save(str(path))
            for name, text in texts.items():
                file = Path(folder, "text")
                file.write_text(text)
                out = subprocess.run([sys.argv[1], path, file, str(ROUNDS)], check=True, capture_output=True, text=True).stdout
                ids, spans = (float(x) for x in re.findall(r"([\d.]+) MB/s", out))
                theirs = rate(text, tokenizer.encode)
                print(f"| {family} | {name} | {ids:.1f} | {spans:.1f} | {theirs:.1f} | {spans / theirs:.1f} |", flush=True)


if __name__ == "__main__":
    main()
