"""Writes models/{smollm2,gemma3}.json: what the real models must answer, from the float64 reference.

Token ids come from llama-cpp-python, log-probabilities from `reference`; check_reference.py judges the reference.
Usage: make_model_goldens.py MODELS_DIR          (the folder with smollm2.gguf and gemma3.gguf; a few minutes)
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import model_texts
import numpy as np
from llama_cpp import Llama
from reference import load

OUT = Path(__file__).parent / "models"
GREEDY_TOKENS = 24
MODELS = {
    "smollm2": {
        "texts": model_texts.SCORED | {"chat": model_texts.CHAT},
        "special": {"chat"},
        "layers": [0, 6, 12, 18, 24],
    },
    "gemma3": {
        # longer than the sliding window of 512
        "texts": model_texts.SCORED | {"long_story": model_texts.STORY + model_texts.STORY_CONTINUED},
        "special": set(),
        "layers": [0, 5, 11, 17],
    },
}


def make(name, models_dir):
    path = models_dir / f"{name}.gguf"
    settings = MODELS[name]
    reference = load(path)
    tokenizer = Llama(str(path), vocab_only=True, verbose=False)
    bos = bool(reference.checkpoint.get("tokenizer.ggml.add_bos_token", False))

    def encode(text, special=False):
        return tokenizer.tokenize(text.encode(), add_bos=bos, special=special)

    scored = []
    for label, text in settings["texts"].items():
        special = label in settings["special"]
        ids = encode(text, special)
        logprobs = reference.token_logprobs(ids)
        nll = -float(np.mean(logprobs[1:])) if len(ids) > 1 else 0.0
        print(f"{name} {label}: {len(ids)} tokens, nll {nll:.4f}", file=sys.stderr)
        scored.append(
            {
                "name": label,
                "text": text,
                "special": special,
                "ids": ids,
                "logprobs": [None if p is None else round(p, 7) for p in logprobs],
                "nll": round(nll, 7),
            }
        )

    greedy = []
    for prompt in model_texts.CONTINUATIONS:
        ids = encode(prompt)
        chosen, gaps = reference.greedy(ids, GREEDY_TOKENS)
        text = tokenizer.detokenize(chosen, prev_tokens=ids).decode("utf-8", "replace")
        print(f"{name} {prompt!r} -> {text!r}, smallest gap {min(gaps):.4f}", file=sys.stderr)
        greedy.append({"prompt": prompt, "ids": ids, "chosen": chosen, "gaps": [round(g, 6) for g in gaps]})

    ids = encode(model_texts.CAPTURE_PROMPT)
    _, kept = reference.residual(ids, settings["layers"])
    residual = np.stack([kept[layer] for layer in settings["layers"]]).astype(np.float32)
    np.save(OUT / f"{name}_residual.npy", residual)

    golden = {
        "model": name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "adds_bos": bos,
        "scored": scored,
        "greedy": greedy,
        "capture": {"prompt": model_texts.CAPTURE_PROMPT, "ids": ids, "layers": settings["layers"], "blocks": reference.blocks,
                    "width": reference.width, "file": f"{name}_residual.npy", "axes": "layer, token, width"},
    }  # fmt: skip
    text = json.dumps(golden, ensure_ascii=False, separators=(",", ":"))
    (OUT / f"{name}.json").write_text(text.replace('},{"', '},\n{"') + "\n")


def main():
    OUT.mkdir(exist_ok=True)
    for name in MODELS:
        make(name, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
