"""`mc bench` answers in its schema, and the page of benchmarks shows what was measured, losses too."""

from __future__ import annotations

import sys

import pytest
from conftest import ROOT, model_path

sys.path.insert(0, str(ROOT / "bench"))
import report  # noqa: E402


@pytest.mark.parametrize("threads", [1, 2])
def test_schema(mc, threads):
    result = mc(
        "bench", "--model", model_path("smollm2"), "--prompt-tokens", 40, "--gen-tokens", 6, "--runs", 1, "--threads", threads,
        "--output", "json",
    ).json()  # fmt: skip
    assert result["schema"] == "mc.bench/1"
    assert result["threads"] == threads
    assert result["prefill"]["tokens_per_s"] > 0
    assert result["decode"]["tokens_per_s"] > 0
    assert result["load_ms"] > 0
    assert result["peak_rss_bytes"] > 10 << 20


def record(isa, decode):
    ours = {"prefill": [300.0], "decode": [decode], "first_prefill_s": [2.0], "load_ms": [50.0], "peak_rss_bytes": [2e8]}
    peer = {"prefill": [200.0], "decode": [60.0], "first_prefill_s": [3.0], "load_ms": [90.0], "peak_rss_bytes": [1e8]}
    return {
        "machine": {"isa": isa, "cpu": "a CPU", "cores": 2},
        "peer": {"version": "0", "system": "AVX2 = 1"},
        "models": {"smollm2": {"1": {"mc": ours, "llama.cpp": peer}}},
    }


def test_page_shows_losses_and_goals():
    lost = next(line for line in report.section(record("avx2", 30.0)).splitlines() if "| decode | mc |" in line)
    assert "0.50 (slower)" in lost
    assert "**missed**" in lost
    won = next(line for line in report.section(record("avx2", 90.0)).splitlines() if "| decode | mc |" in line)
    assert "| 1.50 | ≥ 1.5 | met |" in won


def test_page_keeps_what_other_machines_wrote(tmp_path):
    page = tmp_path / "benchmarks.md"
    for isa, decode in (("avx2", 30.0), ("avx512-vnni", 90.0), ("avx2", 75.0)):
        report.replace_section(page, isa, report.section(record(isa, decode)))
    text = page.read_text()
    assert text.count("## avx2:") == text.count("## avx512-vnni:") == 1
    assert "| 75 / 75 / 75 |" in text
    assert "| 30 / 30 / 30 |" not in text
    assert "| 90 / 90 / 90 |" in text
