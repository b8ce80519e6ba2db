"""Turns a record of peers.py into the tables of docs/benchmarks.md."""

from __future__ import annotations

from pathlib import Path
from statistics import median

# What the project set itself, as ratios to llama.cpp: {ISA family: {model: {(contender, part): ratio}}}.
GOALS = {
    "avx2": {
        "smollm2": {("mc", "decode"): 1.5, ("mc", "prefill"): 2.5, ("mc fast", "prefill"): 5.0},
        "gemma3": {("mc", "decode"): 1.2, ("mc", "prefill"): 1.5, ("mc fast", "prefill"): 2.0},
    },
    "avx512-vnni": {
        "smollm2": {("mc", "decode"): 1.5, ("mc", "prefill"): 1.2, ("mc fast", "prefill"): 2.0},
        "gemma3": {("mc", "decode"): 1.2, ("mc", "prefill"): 1.2, ("mc fast", "prefill"): 2.0},
    },
}
MICRO = {
    "matmul_gflops": "f32 matmul 2048³, GFLOP/s",
    "fma_gflops": "f32 multiply-add peak, GFLOP/s",
    "copy_gb_s": "copy (read and write), GB/s",
    "read_gb_s": "read, GB/s",
    "chain_gb_s": "max(((2x+1)·x−0.5), 0) on 64 Mi floats, GB/s",
    "tanh_exp_gb_s": "tanh(exp(−x²)) on 64 Mi floats, GB/s",
    "sum_last_gb_s": "sum of 8192² floats over the last axis, GB/s read",
    "sum_first_gb_s": "sum of 8192² floats over the first axis, GB/s read",
    "sum_all_gb_s": "sum of 64 Mi floats, GB/s read",
    "max_last_gb_s": "max of 8192² floats over the last axis, GB/s read",
    "argmax_last_gb_s": "argmax of 8192² floats over the last axis, GB/s read",
    "transpose_gb_s": "transposing 8192² floats, GB/s",
    "concatenate_gb_s": "concatenating 4096×8192 floats twice on axis 1, GB/s",
    "pad_gb_s": "padding 4096×8192 floats by one, GB/s",
    "take_rows_gb_s": "taking 8192 random rows of 8192 floats, GB/s",
    "take_along_gb_s": "take_along_axis of 4096×8192 floats, GB/s",
    "sort_melements_s": "sorting 1 Mi floats, million/s",
    "argsort_melements_s": "stable argsort of 1 Mi floats, million/s",
    "build_op_us": "building a small op, µs",
    "run_fused_op_us": "running one of a cached chain of 1,000 adds, µs",
    "run_op_us": "running one of a cached chain of 1,000 ops that can't fuse, µs",
    "lone_eval_us": "a lone op, built and evaluated, µs",
}


def spread(values, digits=0):
    """min / median / max."""
    return " / ".join(f"{v:,.{digits}f}" for v in (min(values), median(values), max(values)))


def speed_table(record):
    isa = record["machine"]["isa"].removesuffix("-forced")
    goals = GOALS.get(isa, {})
    lines = [
        "| model | threads | phase | contender | tokens/s min / median / max | × llama.cpp | goal | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, by_threads in record.get("models", {}).items():
        for threads, figures in by_threads.items():
            for part in ("prefill", "decode"):
                base = median(figures["llama.cpp"][part])
                for contender in figures:
                    ratio = median(figures[contender][part]) / base
                    goal = goals.get(name, {}).get((contender, part))
                    verdict = "" if goal is None else ("met" if ratio >= goal else "**missed**")
                    shown = "" if contender == "llama.cpp" else f"{ratio:.2f}"
                    if contender != "llama.cpp" and ratio < 1:
                        shown += " (slower)"
                    lines.append(
                        f"| {name} | {threads} | {part} | {contender} | {spread(figures[contender][part])} | {shown} | "
                        f"{'' if goal is None else f'≥ {goal}'} | {verdict} |"
                    )
    return lines


def load_table(record):
    lines = [
        "| model | threads | contender | open to ready, ms | first prefill (compiling and packing included), s | peak memory, MiB |",
        "|---|---|---|---|---|---|",
    ]
    for name, by_threads in record.get("models", {}).items():
        for threads, figures in by_threads.items():
            for contender, measures in figures.items():
                peak = [value / 2**20 for value in measures["peak_rss_bytes"]]
                first = spread(measures["first_prefill_s"], 2)
                lines.append(f"| {name} | {threads} | {contender} | {spread(measures['load_ms'])} | {first} | {spread(peak)} |")
    return lines


def error_table(record):
    lines = ["| model | contender | tokens | mean, nats | max, nats |", "|---|---|---|---|---|"]
    for name, contenders in record.get("error", {}).items():
        for contender, error in contenders.items():
            lines.append(f"| {name} | {contender} | {error['tokens']} | {error['mean']:.1e} | {error['max']:.1e} |")
    return lines


def micro_table(record):
    lines = ["| measure | threads | mc min / median / max | NumPy and OpenBLAS | ratio |", "|---|---|---|---|---|"]
    for threads, figures in record.get("micro", {}).items():
        for key, label in MICRO.items():
            ours, peers = figures["mc"].get(key), figures["openblas"].get(key)
            if not ours:
                continue
            if key == "copy_gb_s" and threads != "1":
                peers = None  # NumPy copies on one thread
            digits = 2 if key.endswith("_us") else 1
            ratio = f"{median(ours) / median(peers):.2f}" if peers else ""
            if key == "matmul_gflops" and ratio:
                label += f" (goal 0.9: {'met' if median(ours) >= 0.9 * median(peers) else '**missed**'})"
            lines.append(f"| {label} | {threads} | {spread(ours, digits)} | {spread(peers, digits) if peers else ''} | {ratio} |")
        if "chain_gb_s" in figures["mc"]:
            share = median(figures["mc"]["chain_gb_s"]) / median(figures["mc"]["copy_gb_s"])
            judged = "met" if share >= 0.8 else "**missed**"
            lines.append(f"| the chain's share of copy bandwidth (goal 0.8: {judged}) | {threads} | {share:.2f} | | |")
    return lines


def section(record):
    machine = record["machine"]
    forced = machine.get("forced_on")
    isa = f"AVX2 (forced on an {forced} machine)" if forced else machine["isa"]
    lines = [
        f"## {isa}: {machine['cpu']}, {machine['cores']} cores",
        "",
        f"Peer: llama-cpp-python {record['peer']['version']} ({record['peer']['system'].strip()}), weights and threads the same, "
        "runs in turn. `mc` computes in full precision; `mc fast` rounds activations to int8 per block of 32, as llama.cpp always does.",
    ]
    for title, part, table in (
        ("Speed", "models", speed_table),
        ("Loading and memory", "models", load_table),
        ("Exactness: |logprob − float64 reference| on four texts", "error", error_table),
        ("Ceilings and small benchmarks", "micro", micro_table),
    ):
        if part in record:
            lines += ["", f"### {title}", "", *table(record)]
    return "\n".join(lines) + "\n"


def replace_section(path: Path, key, text):
    """Puts `text` between the markers of `key`, which are appended when the page has none."""
    begin, end = f"<!-- peers {key}: written by bench/peers.py -->", f"<!-- end of peers {key} -->"
    page = path.read_text() if path.exists() else "# Benchmarks\n\nMade by `./dev bench peers`; losses are shown too.\n"
    block = f"{begin}\n{text}{end}"
    if begin in page:
        head, _, rest = page.partition(begin)
        page = head + block + rest.partition(end)[2]
    else:
        page = page.rstrip("\n") + "\n\n" + block + "\n"
    path.write_text(page)
