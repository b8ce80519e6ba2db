"""Figures of results, by matplotlib (`pip install "modelcypher[plot]"`).

Each function draws into `ax`, or into a new figure of a fitting size, and returns the Axes: save it by ax.figure.savefig("cka.svg").
"""
from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

try:
    import matplotlib.pyplot as _plt
except ImportError as e:
    raise ImportError("modelcypher.plot needs matplotlib\n  next: pip install matplotlib") from e


def _axes(ax: Any, width: float, height: float) -> Any:
    return _plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax


def _short(names: Sequence[str]) -> list[str]:
    """Without what all have in common: "resid_post.3" is 3 among layers."""
    heads = {n.partition(".")[0] for n in names}
    return [n.partition(".")[2] or n for n in names] if len(heads) == 1 else list(names)


def _ticks(axis: Any, names: Sequence[str], most: int = 30) -> None:
    step = max(1, math.ceil(len(names) / most))
    places = range(0, len(names), step)
    axis.set_ticks(list(places), [names[i] for i in places])


def _grid(
    ax: Any, values: Any, rows: Sequence[str], columns: Sequence[str], low: float | None, high: float | None, unit: str, colours: str
) -> Any:
    ax = _axes(ax, min(14, 2.6 + 0.22 * len(columns)), min(12, 1.8 + 0.22 * len(rows)))
    image = ax.imshow(values, vmin=low, vmax=high, cmap=colours, aspect="auto", interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label=unit)
    _ticks(ax.xaxis, columns)
    _ticks(ax.yaxis, rows)
    return ax


def similarity(result: Any, ax: Any = None) -> Any:
    """Layer × layer: what probe.cka or probe.mutual_neighbours gave. NaN stays white."""
    values, left, right = result.values.tolist(), _short(result.left), _short(result.right)
    name = "CKA" if hasattr(result, "p_values") else f"share of {result.k} nearest neighbours"
    low = min([0.0, *(v for row in values for v in row if not math.isnan(v))])
    ax = _grid(ax, values, left, right, low, 1, name, "viridis")
    ax.set_title(f"{name}, {result.samples} samples")
    same = result.left == result.right
    ax.set_xlabel("layer" if same else "right")
    ax.set_ylabel("layer" if same else "left")
    return ax


def layers(results: Sequence[Any], quantity: str, ax: Any = None) -> Any:
    """One number of each result of probe.spectrum, dimension, geodesic, direction or procrustes, from layer to layer: "effective_rank",
    "twonn", "accuracy", "distance". Its interval, where there is one, is the band."""
    if not results:
        raise ValueError("there are no results to draw")
    if not hasattr(results[0], quantity):
        known = [f for f in results[0]._fields if isinstance(getattr(results[0], f), float)]
        raise ValueError(f"{type(results[0]).__name__} has no {quantity}; it has {', '.join(known)}")
    ax = _axes(ax, 7, 3.6)
    names = _short([getattr(r, "name", None) or r.left for r in results])
    y, x = [getattr(r, quantity) for r in results], list(range(len(results)))
    bands = [getattr(r, f"{quantity}_interval", None) for r in results]
    (line,) = ax.plot(x, y, marker="o", markersize=3)
    if all(b is not None for b in bands):
        ax.fill_between(x, [b[0] for b in bands], [b[1] for b in bands], color=line.get_color(), alpha=0.2, linewidth=0)
    _ticks(ax.xaxis, names)
    ax.set_xlabel("layer")
    ax.set_ylabel(quantity.replace("_", " "))
    ax.grid(alpha=0.3)
    return ax


def lens(result: Any, model: Any = None, quantity: str = "kl", ax: Any = None) -> Any:
    """Layer × token of what probe.lens gave: `quantity` "kl", "entropy", "top_logprob" or "final_logprob". With the model, cells show
    the token that the layer expects next."""
    values, tops = getattr(result, quantity).tolist(), result.top.tolist()
    columns = [repr(model.detokenize([i], skip_special=False))[1:-1] for i in result.ids] if model else [str(i) for i in result.ids]
    ax = _axes(ax, 2.2 + 0.75 * len(columns), 1.4 + 0.3 * len(result.layers))
    ax = _grid(ax, values, [str(n) for n in result.layers], columns, None, None, f"{quantity.replace('_', ' ')} (nats)", "viridis")
    ax.tick_params(axis="x", rotation=45)
    ax.set_xlabel("token read")
    ax.set_ylabel("layer")
    if model:
        low, high = min(map(min, values)), max(map(max, values))
        for row, line in enumerate(tops):
            for column, token in enumerate(line):
                dark = values[row][column] < low + 0.6 * (high - low)
                text = repr(model.detokenize([token], skip_special=False))[1:-1]
                ax.text(column, row, text[:8], ha="center", va="center", fontsize=6, color="white" if dark else "black")
    return ax


def parity(report: Mapping[str, Any] | str | os.PathLike[str], ax: Any = None) -> Any:
    """Each engine's error by layer, in ulps of the dtype on a logarithmic scale, and its bound: `report` is what
    `mc parity --output json` prints, or the file that holds it."""
    told: Any = report if isinstance(report, Mapping) else json.loads(Path(report).read_text("utf-8"))
    engines = [e for e in told.get("engines", []) if e.get("parts")]
    if not engines:
        raise ValueError("the report has no engine that ran")
    ax = _axes(ax, 8, 4)
    parts = _short([p["name"] for p in engines[0]["parts"]])
    x = range(len(parts))
    for e in engines:
        (line,) = ax.plot(x, [max(p["max_ulps"], 1e-3) for p in e["parts"]], marker="o", markersize=3, label=f"{e['name']}, largest")
        ax.plot(x, [max(p["mean_ulps"], 1e-3) for p in e["parts"]], linestyle=":", color=line.get_color(), label=f"{e['name']}, mean")
    ax.plot(x, [min(e["parts"][i]["bound_ulps"] for e in engines) for i in x], color="0.4", linestyle="--", label="bound")
    ax.set_yscale("log")
    _ticks(ax.xaxis, parts)
    ax.set_xlabel("layer")
    ax.set_ylabel("error (ulps)")
    ax.legend(fontsize=8)
    ax.grid(alpha=0.3)
    return ax


def memory(plans: Sequence[Any], names: Sequence[str] | None = None, ax: Any = None) -> Any:
    """What model.plan() told, a bar each: weights, cache, workspace and the host's part, in megabytes. `names` of the bars; None: the
    commands."""
    if names is not None and len(names) != len(plans):
        raise ValueError(f"{len(names)} names for {len(plans)} plans")
    ax = _axes(ax, 7, 1.2 + 0.5 * len(plans))
    left = [0.0] * len(plans)
    for part, of in (
        ("weights", lambda p: p.weights), ("cache", lambda p: p.cache), ("workspace", lambda p: max(p.prefill, p.decode)),
        ("host", lambda p: p.host),
    ):  # fmt: skip
        width = [of(p) / 1e6 for p in plans]
        ax.barh(range(len(plans)), width, left=left, label=part)
        left = [a + b for a, b in zip(left, width)]
    ax.set_yticks(range(len(plans)), list(names) if names is not None else [f"{p.command}, {p.rows} × {p.tokens} tokens" for p in plans])
    ax.invert_yaxis()
    ax.set_xlabel("MB")
    ax.legend(fontsize=8)
    return ax


__all__ = ["layers", "lens", "memory", "parity", "similarity"]
