"""Judges the float64 reference itself: against llama.cpp on the file as it is, and on a copy expanded to float32.

On the file as it is llama.cpp rounds activations to int8, so some hundredths of a nat are expected. On the expanded copy, with a
float32 KV cache, nothing is rounded coarsely and the two must agree to float32's noise, which proves the reference's formulas.
One rounding stays: llama.cpp's GELU is a table in float16, so for Gemma the same table is put into the reference for that comparison.
Usage: check_reference.py MODEL.gguf ...        (needs numpy, gguf, llama-cpp-python; writes the copy to a temporary folder)
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize
from llama_cpp import GGML_TYPE_F32, Llama
from reference import gemma3, layers, load

TEXT = (
    "The ferry left the harbour before dawn, and by the time the sun was up the islands were only a grey line on the water. "
    "def area(width, height):\n    return width * height\n\nКошка спит на окне. 今天天气很好。"
)


def expand(source, target):
    """Writes a copy of a GGUF file whose tensors are all float32."""
    reader = GGUFReader(source)
    writer = GGUFWriter(target, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        kind = field.types[0]
        sub = field.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), kind, sub_type=sub)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def peer_logprobs(path, ids):
    model = Llama(
        str(path), n_ctx=1024, n_threads=2, n_threads_batch=2, logits_all=True, verbose=False,
        type_k=GGML_TYPE_F32, type_v=GGML_TYPE_F32, flash_attn=False,
    )  # fmt: skip
    model.eval(ids)
    scores = np.asarray(model.scores[: len(ids) - 1], dtype=np.float64)
    scores -= scores.max(axis=-1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    return scores[np.arange(len(ids) - 1), ids[1:]]


def gelu_table(x):
    """llama.cpp's gated GELU on the CPU: a table of float16 values indexed by the argument in float16."""
    return layers.gelu_tanh(x.astype(np.float16).astype(np.float64)).astype(np.float16).astype(np.float64)


def main():
    for path in sys.argv[1:]:
        reference = load(path)
        tokenizer = Llama(path, vocab_only=True, verbose=False)
        bos = bool(reference.checkpoint.get("tokenizer.ggml.add_bos_token", False))
        ids = tokenizer.tokenize(TEXT.encode(), add_bos=bos, special=False)
        window = getattr(reference, "window", 0)
        if window:  # long enough for the sliding window to matter
            ids = ids + tokenizer.tokenize(TEXT.encode(), add_bos=False, special=False) * (window // len(ids) + 1)
        expected = np.array(reference.token_logprobs(ids)[1:])
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "float32.gguf"
            expand(path, copy)
            gemma3.gelu_tanh = gelu_table
            rounded = np.array(reference.token_logprobs(ids)[1:])
            gemma3.gelu_tanh = layers.gelu_tanh
            for label, file, wanted in (
                ("as it is", path, expected),
                ("float32 copy", copy, expected),
                ("float32 copy, GELU as in llama.cpp", copy, rounded),
            ):
                error = np.abs(peer_logprobs(file, ids) - wanted)
                print(f"{Path(path).name} {label}: {len(ids)} tokens, nll {-expected.mean():.4f}, "
                      f"|error| median {np.median(error):.2e} mean {error.mean():.2e} max {error.max():.2e}")  # fmt: skip


if __name__ == "__main__":
    main()
