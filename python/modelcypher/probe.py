"""Measures of what happens inside models (docs/probing.md).

Samples are given as a dict of arrays {name: (samples, features)} such as model.capture(…, pool="mean") gives, one array, the folder of
a capture, or .npy, .npz and .safetensors files (a path or a list of them). Rows are samples and must be the same ones, in the same
order, wherever two matrices are compared. NaN and infinity are refused (errors.NotFinite names the row). Lists of arrays, as capture gives
without a pool, are put one below the other. Integer keys are layers: 3 is called "resid_post.3".

    states = model.capture(texts, layers=range(30), pool="mean")
    mc.probe.cka(states).values            # (30, 30) float64
    [s.effective_rank for s in mc.probe.spectrum(states)]

Results are named tuples; intervals are (low, high) at 95 %, None where there is none.
"""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from . import _mc, _ops
from ._mc import Array
from ._model import Model, _edits

Samples = _mc.Samples
Interval = tuple[float, float]


class Cka(NamedTuple):
    """`values` (left, right): NaN where a matrix does not vary. `intervals` (left, right, 2) by the delete-one jackknife over samples
    (Efron & Stein 1981). With permutations: `p_values`, `null_mean` and `null_high` (95th percentile), over `null_samples` samples."""

    left: list[str]
    right: list[str]
    samples: int
    values: Array
    intervals: Array | None
    p_values: Array | None
    null_mean: Array | None
    null_high: Array | None
    null_samples: int


class Mutual(NamedTuple):
    """`values` (left, right): the mean share of the `k` nearest neighbours in common; `chance`: k/(samples - 1)."""

    left: list[str]
    right: list[str]
    samples: int
    values: Array
    k: int
    chance: float


class Procrustes(NamedTuple):
    """sqrt(2 - 2·‖XᵀY‖_*) of matrices centred and of unit Frobenius norm: 0 to sqrt(2)."""

    left: str
    right: str
    distance: float


class Spectrum(NamedTuple):
    """Of the covariance's `eigenvalues` (float64, descending). `power_law`: the slope of -ln λ over ln index in `power_law_range`."""

    name: str
    samples: int
    width: int
    eigenvalues: Array
    rank: int
    effective_rank: float
    participation_ratio: float
    stable_rank: float
    spectral_entropy: float
    power_law: float
    power_law_error: float
    power_law_r2: float
    power_law_range: tuple[int, int]
    effective_rank_interval: Interval | None
    participation_ratio_interval: Interval | None


class Dimension(NamedTuple):
    """Intrinsic dimension; `duplicates`: rows left out because they are the same as an earlier one."""

    name: str
    samples: int
    duplicates: int
    twonn: float
    twonn_regression: float
    levina_bickel: float
    twonn_interval: Interval | None
    levina_bickel_interval: Interval | None


class Geodesic(NamedTuple):
    """Shortest paths on the symmetric k-NN graph; ratios of path to straight distance are over pairs within one component."""

    name: str
    samples: int
    k: int
    edges: int
    components: int
    largest_component: int
    mean_ratio: float
    max_ratio: float
    diameter: float
    distances: Array | None


class Direction(NamedTuple):
    """`direction` (width,) float32 of unit length, from the negative to the positive class; `accuracy`, its interval (Wilson 1927) and
    `auc` are of samples that were held out. `train` and `held_out` count (positive, negative)."""

    name: str
    direction: Array
    norm: float
    threshold: float
    accuracy: float
    accuracy_interval: Interval
    auc: float
    train: tuple[int, int]
    held_out: tuple[int, int]


class Ablation(NamedTuple):
    """Mean KL(model ‖ model without the direction) in nats over `tokens` tokens, the mean's standard error (texts taken as
    independent; NaN for one), the share of tokens whose most probable next token stays, the same KL of each control direction, and
    p: (1 + controls at least as large)/(1 + controls)."""

    texts: int
    tokens: int
    kl: float
    standard_error: float
    top1_agreement: float
    controls: Array
    p_value: float


class Predictions(NamedTuple):
    """Of the token that follows each of `ids`: the most probable one, its logprob, and the entropy over the vocabulary, in nats."""

    ids: list[int]
    top: Array
    top_logprob: Array
    entropy: Array


class Divergence(NamedTuple):
    """Two predictions for the same tokens: `kl` Σ a ln(a/b), `reverse_kl` Σ b ln(b/a), nats, one a token."""

    a: Predictions
    b: Predictions
    kl: Array
    reverse_kl: Array


class Lens(NamedTuple):
    """layers × tokens. `kl` is from the model's final distribution to the layer's; `final_logprob` what the layer gives the model's
    final most probable token."""

    layers: list[int]
    ids: list[int]
    top: Array
    top_logprob: Array
    entropy: Array
    kl: Array
    final_logprob: Array


def _name(key: Any) -> str:
    return f"resid_post.{key}" if isinstance(key, int) else str(key)


def _array(value: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[0], Array):
        return _ops.concatenate(value, axis=0)
    return _ops.asarray(value)


def samples(data: Any, sites: str | Sequence[str] | None = None) -> Samples:
    """Samples made ready once for several measures; `sites` chooses matrices by name ("resid_post.3,resid_post.7"). Files are read
    when they are needed, one matrix at a time. FileNotFoundError, ValueError for captures that are not finished, matrices of
    different numbers of rows, or none of that name."""
    only = [] if sites is None else sites.split(",") if isinstance(sites, str) else [str(s) for s in sites]
    if isinstance(data, Samples):
        if only:
            raise ValueError("sites= chooses among files or arrays; these samples are made already")
        return data
    if isinstance(data, (str, os.PathLike)):
        data = [os.fspath(data)]
    elif isinstance(data, Mapping):
        data = [(_name(k), _array(v)) for k, v in data.items()]
    elif isinstance(data, (list, tuple)) and data and all(isinstance(d, (str, os.PathLike)) for d in data):
        data = [os.fspath(d) for d in data]
    else:
        data = [("samples", _array(data))]
    return _mc.samples(data, only)


def _two(a: Any, b: Any, sites: Any) -> tuple[Samples, Samples | None]:
    return samples(a, sites), None if b is None else samples(b, sites)


def cka(
    a: Any, b: Any = None, *, sites: str | Sequence[str] | None = None, estimator: str = "debiased", kernel: str = "linear",
    bandwidth: float = 1.0, permutations: int = 0, null_samples: int = 500, intervals: bool = False, seed: int = 0,
) -> Cka:  # fmt: skip
    """Centred kernel alignment of every matrix of `a` with every one of `b` (of `a` itself without b), at least 4 samples. `estimator`:
    "debiased" (Song et al. 2012; may be below 0) or "biased" (Kornblith et al. 2019; grows with width/samples). `kernel`: "linear" or
    "rbf", σ the median distance times `bandwidth`. `permutations` shuffles samples so many times for p values."""
    _choice("estimator", estimator, ("debiased", "biased"))
    _choice("kernel", kernel, ("linear", "rbf"))
    options = {
        "debiased": estimator == "debiased", "rbf": kernel == "rbf", "bandwidth": float(bandwidth), "permutations": permutations,
        "null_samples": null_samples, "intervals": bool(intervals), "seed": seed,
    }  # fmt: skip
    return Cka(**_mc.cka(*_two(a, b, sites), options))


def mutual_neighbours(a: Any, b: Any = None, *, k: int = 10, sites: str | Sequence[str] | None = None) -> Mutual:
    """The share of the k nearest neighbours (Euclidean) that samples have in common in two matrices (Huh et al. 2024)."""
    return Mutual(**_mc.mutual_neighbours(*_two(a, b, sites), k))


def nearest_neighbours(x: Any, k: int) -> tuple[Array, Array]:
    """Indices int32 and distances float64, (n, k) each, of the k nearest points (Euclidean) to each of x (n, d), without itself,
    nearest first, ties by index. ValueError unless 1 <= k < n."""
    index, distance = _mc.nearest_neighbours(_ops.astype(_array(x), _mc.float32), k)
    return index, distance


def procrustes(a: Any, b: Any = None, *, sites: str | Sequence[str] | None = None) -> list[Procrustes]:
    """The distance after the best rotation or reflection (Schönemann 1966; Williams et al. 2021): of each matrix of `a` from that of
    `b` in the same place, or without b from the next one of `a`."""
    left, right = _two(a, b, sites)
    if right is None:
        if len(left) < 2:
            raise ValueError("one matrix has nothing to be compared with: give b")
        pairs = [(i, left, i + 1) for i in range(len(left) - 1)]
    elif len(left) != len(right):
        raise ValueError(f"{len(left)} matrices here, {len(right)} there")
    else:
        pairs = [(i, right, i) for i in range(len(left))]
    return [Procrustes(*_mc.procrustes(left, i, other, j)) for i, other, j in pairs]


def spectrum(a: Any, *, intervals: bool = False, sites: str | Sequence[str] | None = None) -> list[Spectrum]:
    """Effective rank (Roy & Vetterli 2007), participation ratio (Gao et al. 2017), stable rank, spectral entropy and the exponent of
    the eigenvalues (Stringer et al. 2019) of each matrix, at least 3 samples. `intervals`: by a
    jackknife over 10 groups, None for less than 30 samples."""
    s = samples(a, sites)
    return [Spectrum(**_mc.spectrum(s, i, bool(intervals))) for i in range(len(s))]


def dimension(a: Any, *, k: int = 10, bootstrap: int = 200, seed: int = 0, sites: str | Sequence[str] | None = None) -> list[Dimension]:
    """Intrinsic dimension of each matrix: TwoNN (Facco et al. 2017), by maximum likelihood with a bootstrap interval and by regression,
    and Levina & Bickel (2004) over k neighbours."""
    s = samples(a, sites)
    return [Dimension(**_mc.intrinsic_dimension(s, i, k, bootstrap, seed)) for i in range(len(s))]


def geodesic(a: Any, *, k: int = 10, distances: bool = False, sites: str | Sequence[str] | None = None) -> list[Geodesic]:
    """Distances along the symmetric graph of k nearest neighbours, by Dijkstra's algorithm (Tenenbaum et al. 2000). `distances` keeps
    them: (n, n) float64, infinite between components."""
    s = samples(a, sites)
    return [Geodesic(**_mc.geodesic(s, i, k, bool(distances))) for i in range(len(s))]


def direction(
    positive: Any, negative: Any, *, train: float = 0.5, seed: int = 0, sites: str | Sequence[str] | None = None
) -> list[Direction]:
    """The difference of means of two classes of samples (Marks & Tegmark 2023), for each matrix of both of the same name, made of the
    share `train` of each class and tested on the rest."""
    a, b = samples(positive, sites), samples(negative, sites)
    return [Direction(**_mc.mean_direction(a, i, b, _partner(a, i, b), float(train), seed)) for i in range(len(a))]


def shuffled_directions(positive: Any, negative: Any, count: int, *, seed: int = 0, site: str | None = None) -> list[Array]:
    """`count` differences of means, of unit length, of the same samples with their classes shuffled: controls for what a direction
    causes. Of the matrix `site`, or the only one."""
    a, b = samples(positive, site), samples(negative, site)
    if len(a) != 1:
        raise ValueError(f"there are {len(a)} matrices: name one by site=")
    return list(_mc.shuffled_directions(a, 0, b, _partner(a, 0, b), count, seed))


def check_by_ablation(
    model: Model, texts: Sequence[Any], direction: Any, *, sites: str | Sequence[str] = "resid_post.all", controls: Sequence[Any] = ()
) -> Ablation:
    """Whether a direction (d,) causes anything: how far the next token's distribution moves when its component is taken out at `sites`
    (Arditi et al. 2024), beside the same for control directions."""
    rows = [model._ids(t) for t in texts]
    places = sites if isinstance(sites, str) else ",".join(sites)
    with _mc.device_scope(model.device):
        u, c = _ops.asarray(direction, device=model.device), [_ops.asarray(x, device=model.device) for x in controls]
        return Ablation(**_mc.check_by_ablation(model._inner, rows, places, u, c))


def entropy(model: Model, text: Any, *, edits: Any = ()) -> Predictions:
    """What the model expects after each token of a text, while `edits` are written (docs/sites.md)."""
    ids = model._ids(text)
    with _mc.device_scope(model.device):
        return Predictions(ids, **_mc.predictions(model._inner, ids, _edits(edits, len(ids))))


def divergence(a: Model, b: Model, text: Any, *, edits: Any = (), edits_b: Any = ()) -> Divergence:
    """How two models of one vocabulary, or one model (given twice) with and without edits, differ on a text: `edits` are written in a,
    `edits_b` in b. ValueError for different vocabularies."""
    ids = a._ids(text)
    with _mc.device_scope(a.device):
        d = _mc.divergences(a._inner, _edits(edits, len(ids)), b._inner, _edits(edits_b, len(ids)), ids)
    return Divergence(Predictions(ids, **d["a"]), Predictions(ids, **d["b"]), d["kl"], d["reverse_kl"])


def lens(model: Model, text: Any, layers: int | Sequence[int] | None = None, *, edits: Any = ()) -> Lens:
    """The logit lens (nostalgebraist 2020): the residual stream after `layers` (None: all) through the model's last norm and head."""
    ids = model._ids(text)
    chosen = range(model.config["layers"]) if layers is None else [layers] if isinstance(layers, int) else layers
    places = [model._inner.layer_index(i) for i in chosen]
    with _mc.device_scope(model.device):
        return Lens(places, ids, **_mc.logit_lens(model._inner, ids, places, _edits(edits, len(ids))))


def _partner(a: Samples, i: int, b: Samples) -> int:
    """The matrix of b of the same name; the only ones where both have one."""
    names = b.names
    if a.names[i] in names:
        return names.index(a.names[i])
    if len(a) != 1 or len(b) != 1:
        raise ValueError(f"the other class has no {a.names[i]}; it has {', '.join(names)}")
    return 0


def _choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} is {' or '.join(map(repr, known))}, not {value!r}")


__all__ = [
    "Ablation", "Cka", "Dimension", "Direction", "Divergence", "Geodesic", "Lens", "Mutual", "Predictions", "Procrustes", "Samples",
    "Spectrum",
    "check_by_ablation", "cka", "dimension", "direction", "divergence", "entropy", "geodesic", "lens", "mutual_neighbours",
    "nearest_neighbours", "procrustes", "samples", "shuffled_directions", "spectrum",
]  # fmt: skip
