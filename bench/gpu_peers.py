"""The cuda engine beside PyTorch, shape by shape in one run: measured JSON, and its table in docs/benchmarks.md.

usage: gpu_peers.py measure MC FOLDER OUT.json     on the GPU's machine; FOLDER is for the models made there
       gpu_peers.py table OUT.json DOC.md          replaces the table between its markers
"""
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
SHAPES = {"smollm2-135m": 2.0, "llama-1b": 1.5, "llama-8b": 1.1}  # the goal of decoding, x PyTorch
SECONDS = 180  # for PyTorch to compile and run one shape
BEGIN, END = "<!-- gpu peers: written by bench/gpu_peers.py -->", "<!-- end of gpu peers -->"


def bench(mc, file, *options):
    r = subprocess.run([mc, "bench", "--backend", "cuda", "-q", "--output", "json", "--decode-context", "512", "-m", file,
                        "--dtype", "bf16", *options], capture_output=True, text=True, check=False)
    if r.returncode:
        return {"error": (r.stdout + r.stderr)[-400:]}
    d = json.loads(r.stdout)
    return {"prefill": d["prefill"]["tokens_per_s"], "decode": d["decode"]["tokens_per_s"],
            "decode_min": d["decode"]["min"], "decode_max": d["decode"]["max"]}


def measure(mc, folder, out):
    result = {"schema": "mc.gpu-peers/1", "shapes": {}}
    micro = pathlib.Path(mc).with_name("gpu_micro")
    if micro.exists():
        r = subprocess.run([micro], capture_output=True, text=True, check=False, env=os.environ | {"MODELCYPHER_BACKEND": "cuda"})
        result["micro"] = json.loads(r.stdout) if r.returncode == 0 else {"error": r.stderr[-400:]}
    for shape in SHAPES:
        file = pathlib.Path(folder) / f"{shape}.gguf"
        if not file.exists():
            subprocess.run([sys.executable, ROOT / "scripts/random_model.py", shape, file], check=True)
        here = result["shapes"][shape] = {"bf16": bench(mc, file), "affine4": bench(mc, file, "--quantize", "affine4")}
        if shape == "smollm2-135m":
            packed = file.with_name("packed.gguf")
            subprocess.run([sys.executable, ROOT / "scripts/random_model.py", shape, packed, "q4_1"], check=True)
            here["q4_1"] = bench(mc, packed)
        here["torch"] = {"error": "did not end within the run's time"}
        pathlib.Path(out).write_text(json.dumps(result, indent=1) + "\n")
        try:
            torch = subprocess.run([sys.executable, ROOT / "bench/peer_torch.py", shape], capture_output=True, text=True, check=False,
                                   timeout=SECONDS)
            lines = [json.loads(x) for x in torch.stdout.splitlines() if x.startswith("{")]
            if len(lines) == 2:
                result["machine"], here["torch"] = lines
            else:
                here["torch"] = {"error": torch.stderr[-400:]}
        except subprocess.TimeoutExpired:
            here["torch"] = {"error": f"did not end within {SECONDS} s"}
        print(shape, json.dumps(here), flush=True)
        pathlib.Path(out).write_text(json.dumps(result, indent=1) + "\n")


def table(source, doc):
    d = json.loads(pathlib.Path(source).read_text())
    m = d["machine"]
    rows = [f"{m['device']}, PyTorch {m['torch']} (torch.compile, static cache), copy {m['copy_TB_s']:.2f} TB/s; "
            "`--dtype bf16`, batch 1, context 512, random weights; tokens/s.", "",
            "| shape | phase | weights | mc | PyTorch, bfloat16 | mc / PyTorch | goal | |", "|---|---|---|---|---|---|---|---|"]
    for shape, goal in SHAPES.items():
        s = d["shapes"].get(shape)
        if not s:
            continue
        t = s["torch"]
        prefill = None if "error" in t else max(t["prefill_eager"], t.get("prefill_compiled", 0))
        for weights in ("bf16", "q4_1", "affine4"):
            x = s.get(weights)
            if not x or "error" in x:
                continue
            for phase, peer, least in (("decode", t.get("decode"), goal), ("prefill 512", prefill, 1.0)):
                mine = x[phase.split()[0]]
                if peer is None:
                    rows.append(f"| {shape} | {phase} | {weights} | {mine:,.0f} | not measured | | | |")
                    continue
                ratio = mine / peer
                judged = (f"≥ {least}", "met" if ratio >= least else "**missed**") if weights == "bf16" else ("", "")
                rows.append(f"| {shape} | {phase} | {weights} | {mine:,.0f} | {peer:,.0f} | {ratio:.2f} | {judged[0]} | {judged[1]} |")
    big = d["shapes"].get("llama-8b", {})
    if "error" in big.get("torch", {}) and "decode" in big.get("affine4", {}):
        four = big["affine4"]["decode"]
        ratio = big["bf16"]["decode"] / 133
        rows += ["", "PyTorch did not end its 8 B shape within this run's time (an earlier run of its own gave 133 tokens/s decoding, "
                 f"{ratio:.2f} ×; goal ≥ 1.1). 4-bit decoding of that shape: goal ≥ 300, "
                 f"{'met' if four >= 300 else '**missed**'} at {four:.0f}."]
    elif "decode" in big.get("affine4", {}):
        four = big["affine4"]["decode"]
        rows += ["", f"4-bit decoding of the 8 B shape: goal ≥ 300, {'met' if four >= 300 else '**missed**'} at {four:.0f}."]
    if "note" in d:
        rows += ["", d["note"] + "."]
    micro = d.get("micro", {})
    if "chain_TB_s" in micro:
        share, us = micro["chain_TB_s"] / m["copy_TB_s"], micro["lone_op_us"]
        rows += ["", "| measure | mc | PyTorch | goal | |", "|---|---|---|---|---|",
                 f"| max(((2x+1)·x−0.5), 0) on 64 Mi floats, TB/s | {micro['chain_TB_s']:.2f} ({share:.2f} of PyTorch's copy) | "
                 f"{m['chain_TB_s']:.2f} | ≥ 0.9 of copy | {'met' if share >= 0.9 else '**missed**'} |",
                 f"| one op on 64 Mi floats, TB/s | {micro['one_op_TB_s']:.2f} | | | |",
                 f"| host time of a lone small op, µs | {us:.2f} | | ≤ 4 | {'met' if us <= 4 else '**missed**'} |"]
    doc = pathlib.Path(doc)
    text = doc.read_text()
    block = "\n".join([BEGIN, "## The cuda engine beside PyTorch", "", *rows, END])
    if BEGIN in text:
        text = text[:text.index(BEGIN)] + block + text[text.index(END) + len(END):]
    else:
        text = text.rstrip("\n") + "\n\n" + block + "\n"
    doc.write_text(text)


def main() -> int:
    a = sys.argv[1:]
    if len(a) == 4 and a[0] == "measure":
        measure(*a[1:])
    elif len(a) == 3 and a[0] == "table":
        table(*a[1:])
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
