"""Writes small.gguf with the `gguf` Python package: the file that tests/unit/gguf_test.cpp reads and writes again.

Run: python make_gguf.py (gguf 0.19.0 was used). Block-quantized tensors hold counting bytes: only the layout matters here.
"""
import os

import gguf
import numpy as np

here = os.path.dirname(os.path.abspath(__file__))
w = gguf.GGUFWriter(os.path.join(here, "small.gguf"), "llama")
w.add_uint8("t.u8", 200)
w.add_int8("t.i8", -100)
w.add_uint16("t.u16", 60000)
w.add_int16("t.i16", -30000)
w.add_uint32("t.u32", 4000000000)
w.add_int32("t.i32", -2000000000)
w.add_uint64("t.u64", 2**63 + 5)
w.add_int64("t.i64", -(2**62))
w.add_float32("t.f32", 1.5)
w.add_float64("t.f64", 0.1)
w.add_bool("t.yes", True)
w.add_bool("t.no", False)
w.add_string("t.string", "naïve 日本")
w.add_key_value("t.i32s", [1, -2, 3], gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.INT32)
w.add_key_value("t.f32s", [0.5, -1.25], gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.FLOAT32)
w.add_key_value("t.strings", ["a", "", "ĠĊ"], gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.STRING)


def counting(n):
    return (np.arange(n) % 251).astype(np.uint8)


w.add_tensor("f32", np.arange(6, dtype=np.float32).reshape(2, 3))
w.add_tensor("f16", np.arange(5, dtype=np.float16))
for name in ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "BF16"]:
    t = gguf.GGMLQuantizationType[name]
    block, size = gguf.GGML_QUANT_SIZES[t]
    w.add_tensor(name.lower(), counting(2 * 256 // block * size).reshape(2, -1), raw_dtype=t)
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()

# The block sizes of all types, for the test of the table of types. Q8_1 is left out: it is no type of files, and the
# package (40 bytes) disagrees with ggml's own struct of it (36).
with open(os.path.join(here, "types.txt"), "w") as f:
    for t, (block, size) in sorted(gguf.GGML_QUANT_SIZES.items()):
        if t.name != "Q8_1":
            f.write(f"{int(t)} {t.name} {block} {size}\n")
