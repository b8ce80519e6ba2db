"""Writes models.txt: what llama-cpp-python makes of the corpus with the two real models.

Run: python make_models.py DIR, where DIR holds smollm2.gguf and gemma3.gguf (llama-cpp-python 0.3.36 was used).
"""
import ctypes
import os
import sys

import llama_cpp
import phrases
from llama_cpp import Llama

CORPUS_BYTES = 1_200_000


@llama_cpp.llama_log_callback
def quiet(level, text, user_data):
    pass


llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
text = phrases.corpus(CORPUS_BYTES)
short = [p for p in phrases.phrases() if len(p) <= 200]
with open(os.path.join(phrases.HERE, "models.txt"), "w") as out:
    for name in ("smollm2", "gemma3"):
        model = Llama(os.path.join(sys.argv[1], name + ".gguf"), vocab_only=True, verbose=False)
        vocab = llama_cpp.llama_model_get_vocab(model._model.model)
        ids = range(model.n_vocab())
        print(f"model {name}", file=out)
        for special in (0, 1):
            got = model.tokenize(text, add_bos=True, special=bool(special))
            print(f"corpus {special} {len(got)} {phrases.fnv(got)}", file=out)
        # Each phrase alone: where they differ, the test can say which.
        for special in (0, 1):
            each = [phrases.fnv(model.tokenize(p, add_bos=False, special=bool(special))) for p in short]
            print(f"phrases {special} {len(each)} " + " ".join(str(h) for h in each), file=out)
        pieces = b""
        for i in ids:
            b = ctypes.create_string_buffer(256)
            n = llama_cpp.llama_token_to_piece(vocab, i, b, 256, 0, True)
            pieces += n.to_bytes(4, "little") + b.raw[:n]
        words = [int.from_bytes(pieces[i:i + 4].ljust(4, b"\0"), "little") for i in range(0, len(pieces), 4)]
        print(f"pieces {len(pieces)} {phrases.fnv(words)}", file=out)
        ends = [i for i in ids if llama_cpp.llama_vocab_is_eog(vocab, i)]
        control = [i for i in ids if llama_cpp.llama_vocab_is_control(vocab, i)]
        print(f"ends {len(ends)} " + " ".join(map(str, ends)), file=out)
        print(f"control {len(control)} {phrases.fnv(control)}", file=out)
