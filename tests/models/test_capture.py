"""`mc probe capture`: the residual stream of real models against the float64 goldens, its files, and its memory."""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct

import numpy as np
import pytest
from conftest import GOLDEN, error_of, golden, measures_memory, model_path

DTYPES = {"F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "U64": np.uint64}
SUBJECTS = ["The baker", "An old sailor", "My sister", "The youngest of the three engineers", "Nobody", "A grey cat"]
VERBS = ["found", "painted", "was afraid of", "wrote a long letter about", "sold"]
OBJECTS = ["the bridge.", "a map of the town", "seven keys, two of them bent;", "rain", "the light on the hill in winter!"]
HALVES = [("bfloat16", "smollm2", 2.0**-9), ("float16", "smollm2", 2.0**-12), ("bfloat16", "gemma3", 2.0**-9)]
LAYERS = [0, 6, 12, 18, 24]


def read_safetensors(path):
    """The format in a few lines: u64 length of a JSON header, the header, then the tensors' bytes."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    body = memoryview(data)[8 + length :]
    tensors, end = {}, 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        if entry["dtype"] == "BF16":  # the upper half of a float32
            values = (np.frombuffer(body[first:last], np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(body[first:last], DTYPES[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
        end = max(end, last)
    assert len(body) == end, f"{path.name} is not whole"
    return tensors


def prompts(count):
    rng = np.random.default_rng(7)
    return [f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)} {rng.choice(OBJECTS)}" for _ in range(count)]


def write_data(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def capture(mc, name, data, out, *arguments, layers=LAYERS, **options):
    return mc(
        "probe", "capture", "--model", model_path(name), "--data", data, "--layers", ",".join(map(str, layers)),
        "--out", out, "--output", "json", *arguments, **options,
    )  # fmt: skip


def read_capture(folder):
    """The manifest, and each tensor joined over the shards in the manifest's order."""
    manifest = json.loads((folder / "manifest.json").read_text())
    parts = [read_safetensors(folder / shard["file"]) for shard in manifest["shards"]]
    assert sorted(p.name for p in folder.glob("*.safetensors")) == sorted(shard["file"] for shard in manifest["shards"])
    return manifest, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, parts


def assert_close(ours, expected):
    """Float32 through tens of blocks: noise relative to the size of the vector that an element belongs to."""
    scale = np.sqrt(np.mean(np.square(expected, dtype=np.float64), axis=-1, keepdims=True))
    worst = float(np.max(np.abs(ours - expected) / scale))
    print(f"worst error relative to the vector's rms {worst:.1e}")
    assert worst <= 1e-4


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
@pytest.mark.parametrize("pool", ["last", "mean", "none"])
def test_residual_stream(mc, name, pool, tmp_path):
    case = golden(name)["capture"]
    expected = np.load(GOLDEN / case["file"])
    # The golden prompt stands between a longer and a shorter one, so that padding would show.
    data = write_data(tmp_path / "data.jsonl", [prompts(1)[0] * 2, case["prompt"], "Rain"])
    out = tmp_path / "out"
    result = capture(mc, name, data, out, "--batch-size", 4, "--pool", pool, layers=case["layers"])
    assert result.code == 0, result.err
    manifest, tensors, parts = read_capture(out)
    assert manifest["schema"] == "mc.capture/1"
    assert manifest["complete"] is True
    assert (manifest["layers"], manifest["pool"], manifest["precision"]) == (case["layers"], pool, "highest")
    assert manifest["backend"] == "numpy"
    assert manifest["model"]["sha256"] == golden(name)["sha256"]
    for row, layer in enumerate(case["layers"]):
        ours = tensors[f"layer.{layer}"]
        assert ours.dtype == np.float32
        assert ours.shape[1] == case["width"]
        if pool == "last":
            assert ours.shape[0] == 3
            assert_close(ours[1], expected[row, -1])
        elif pool == "mean":
            assert ours.shape[0] == 3
            assert_close(ours[1], expected[row].mean(axis=0, dtype=np.float64))
        else:
            assert len(parts) == 1  # a shard holds 16 MiB
            start, stop = parts[0]["offsets"][1:3]
            assert stop - start == len(case["ids"])
            assert ours.shape[0] == parts[0]["offsets"][-1]
            assert_close(ours[start:stop], expected[row])


@pytest.mark.parametrize("dtype,name,unit", HALVES)
@pytest.mark.parametrize("pool", ["last", "mean", "none"])
def test_residual_stream_in_half(mc, dtype, name, unit, pool, tmp_path):
    case = golden(name)["capture"]
    expected = np.load(GOLDEN / case["file"])
    data = write_data(tmp_path / "data.jsonl", [prompts(1)[0] * 2, case["prompt"], "Rain"])
    out = tmp_path / "out"
    result = capture(mc, name, data, out, "--pool", pool, "--dtype", {"bfloat16": "bf16"}.get(dtype, "f16"), layers=case["layers"])
    assert result.code == 0, result.err
    manifest, tensors, parts = read_capture(out)
    assert manifest["dtype"] == dtype
    shard = out / manifest["shards"][0]["file"]
    assert f'"{ {"bfloat16": "BF16", "float16": "F16"}[dtype] }"' in shard.read_bytes()[:400].decode("latin1")
    for row, layer in enumerate(case["layers"]):
        ours = tensors[f"layer.{layer}"].astype(np.float64)
        assert ours.size * 2 <= shard.stat().st_size
        if pool == "none":
            start, stop = parts[0]["offsets"][1:3]
            ours, want = ours[start:stop], expected[row]
        else:
            ours, want = ours[1], expected[row, -1] if pool == "last" else expected[row].mean(axis=0, dtype=np.float64)
        # 14 roundings a block, independent and of unit/sqrt(3) rms each; 4 for what attention and norms
        # amplify (tests/models/test_score.py).
        error = np.sqrt(np.mean((ours - want) ** 2) / np.mean(np.square(want, dtype=np.float64)))
        print(f"{name} {dtype} {pool} layer {layer}: relative error {error:.1e}")
        assert error <= 4 * np.sqrt(14 * (layer + 1)) * unit / np.sqrt(3)
        assert error > unit / 100, "rounded activations can't be this exact: the option was ignored"


def test_capture_of_what_half_can_not_hold(mc, tmp_path):
    data = write_data(tmp_path / "data.jsonl", ["Rain falls on the hill."])
    error = error_of(capture(mc, "gemma3", data, tmp_path / "out", "--dtype", "f16", layers=[-1]))
    assert "float16" in error["message"]
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize("pool", ["last", "mean", "none"])
def test_batch_of_one_equals_batch_of_four(mc, pool, tmp_path):
    data = write_data(tmp_path / "data.jsonl", prompts(11))
    tensors = []
    for size in (1, 4):
        out = tmp_path / f"out{size}"
        result = capture(mc, "smollm2", data, out, "--batch-size", size, "--pool", pool)
        assert result.code == 0, result.err
        tensors.append(read_capture(out)[1])
    for layer in LAYERS:
        a, b = (t[f"layer.{layer}"] for t in tensors)
        assert a.tobytes() == b.tobytes(), layer


def test_unknown_layer(mc, tmp_path):
    data = write_data(tmp_path / "data.jsonl", ["Hello"])
    result = capture(mc, "smollm2", data, tmp_path / "out", layers=[0, 30])
    error = error_of(result)
    assert error["code"] == "MC-E0303"
    assert "30" in error["message"]
    assert "29" in error["message"] + error["next"]
    assert not (tmp_path / "out").exists()


def test_out_that_exists_is_left_alone(mc, tmp_path):
    data = write_data(tmp_path / "data.jsonl", ["Hello"])
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text("mine")
    result = capture(mc, "smollm2", data, out)
    assert error_of(result)["code"] == "MC-E0204"
    assert (out / "manifest.json").read_text() == "mine"


@pytest.mark.parametrize("line", ["not json", '{"words": "x"}', '{"text": 5}', "[1, 2]"])
def test_bad_line_is_named(mc, tmp_path, line):
    data = tmp_path / "data.jsonl"
    data.write_text('{"text": "Hello"}\n' + line + "\n")
    error = error_of(capture(mc, "smollm2", data, tmp_path / "out"))
    assert error["code"] == "MC-E0306"
    assert "line 2" in error["message"]


def test_interrupt_leaves_whole_files(mc, tmp_path):
    data = write_data(tmp_path / "data.jsonl", prompts(20000))
    out = tmp_path / "out"
    result = capture(mc, "smollm2", data, out, "--pool", "none", interrupt_when=lambda: any(out.glob("*.safetensors")))
    assert result.code == 130
    shards = list(out.glob("*.safetensors"))
    assert shards
    assert not list(out.glob("*.tmp*"))
    manifest, tensors, _ = read_capture(out)
    assert manifest["complete"] is False
    assert manifest["prompts"] == sum(shard["prompts"] for shard in manifest["shards"]) < 20000
    assert tensors["layer.0"].shape[0] == manifest["tokens"]


@measures_memory
def test_memory_does_not_grow_with_the_data(mc, tmp_path):
    """60 prompts against 300; in full 200 against 2,000."""
    few, many = (200, 2000) if os.environ.get("MC_TEST_FULL") else (60, 300)
    peaks, digests = {}, {}
    for count in (few, many):
        data = write_data(tmp_path / f"{count}.jsonl", prompts(count))
        out = tmp_path / f"out{count}"
        result = capture(mc, "smollm2", data, out, "--batch-size", 4, "--pool", "last")
        assert result.code == 0, result.err
        # The program's own peak: what the system tells of a child begins with its parent's.
        number, unit = re.search(r"peak memory ([0-9.]+) ([kMG]B)", result.err).groups()
        peaks[count] = float(number) * {"kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]
        _, tensors, _ = read_capture(out)
        assert tensors["layer.24"].shape == (count, golden("smollm2")["capture"]["width"])
        digests[count] = hashlib.sha256(tensors["layer.24"][:few].tobytes()).hexdigest()
    print({count: f"{peak / 1e6:.0f} MB" for count, peak in peaks.items()})
    assert digests[few] == digests[many]
    # A shard's room is taken at once. What differs is how many of the files' pages happen to be mapped at the peak.
    assert peaks[many] <= peaks[few] + 6e6, peaks
