"""Where the package under test lies: MC_PYTHONPATH, else beside MC_BIN, else build/release/python."""
from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("MC_PYTHONPATH") or (
    Path(os.environ["MC_BIN"]).resolve().parent.parent / "python" if "MC_BIN" in os.environ else ROOT / "build/release/python"))
BUILT = any((BUILD / "modelcypher").glob("_mc.*so"))


def engines() -> list[str]:
    if not BUILT:
        return []
    import modelcypher as mc

    return [s["name"] for s in mc.backend_status() if s["available"]]


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
