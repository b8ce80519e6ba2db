"""Token ids and sentence vectors of all-MiniLM-L6-v2's real weights, by Transformers: tests/golden/models/minilm.json and .npy.

python tests/golden/make_minilm.py DIRECTORY        # as scripts/fetch_models.py puts it: models/minilm
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import BertModel

OUT = Path(__file__).parent / "models"
TEXTS = [
    "This framework generates embeddings for each input sentence.",
    "Sentences are passed as a list of strings.",
    "The quick brown fox jumps over the lazy dog.",
    "A cat sat on the mat; the dog, however, didn't care!",
    "Ein Überblick über Maßeinheiten: 12,5 µm, naïve café – déjà vu…",
    "東京は日本の首都です。北京是中国的首都。",
    "Привет, мир! Как дела?",
    "e\u0301galite\u0301 \u200b\ttabs\nand\u00a0spaces  \x07 control",
    "x",
    "E = mc^2 & a_b <tag> https://example.org/?q=1#frag 😀 [x]",
    "antidisestablishmentarianism " + "a" * 120,
    " ".join(f"Number {i} follows number {i - 1}." for i in range(1, 40)),
]


def main():
    folder = sys.argv[1]
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    model = BertModel.from_pretrained(folder, attn_implementation="eager").double().eval()
    ids, vectors = [], []
    for text in TEXTS:
        encoded = tokenizer.encode(text).ids
        ids.append(encoded)
        with torch.no_grad():
            states = model(input_ids=torch.tensor([encoded])).last_hidden_state[0]
        vectors.append(states.mean(0).numpy())
    OUT.mkdir(exist_ok=True)
    (OUT / "minilm.json").write_text(json.dumps([{"text": t, "ids": i} for t, i in zip(TEXTS, ids, strict=True)], indent=1) + "\n")
    np.save(OUT / "minilm.npy", np.array(vectors, np.float32))
    print([len(i) for i in ids], np.linalg.norm(vectors, axis=1))


if __name__ == "__main__":
    main()
