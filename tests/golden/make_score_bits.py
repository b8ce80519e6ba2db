"""Writes models/score_bits.json: the SHA-256 of what `mc score` prints for a text on both models, in both precisions.

usage: make_score_bits.py MC MODELS_DIR

The host engine promises the same bits on every processor, so this file made on one machine is a test on another.
"""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "models"))
from conftest import bits_of, golden  # noqa: E402


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    mc, models = sys.argv[1:]
    bits: dict[str, dict[str, str]] = {}
    for name in ("smollm2", "gemma3"):
        text = next(case["text"] for case in golden(name)["scored"] if case["name"] == "story")
        for precision in ("highest", "fast"):
            command = [mc, "score", "--backend", "numpy", "--model", f"{models}/{name}.gguf", "--text", text,
                       "--precision", precision, "--output", "json"]
            result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            bits.setdefault(name, {})[precision] = bits_of(result)
    (HERE / "models" / "score_bits.json").write_text(json.dumps(bits, indent=2) + "\n")


if __name__ == "__main__":
    main()
