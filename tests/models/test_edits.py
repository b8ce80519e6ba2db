"""`--edit`: what is written inside a real model has the effect that the float64 NumPy reference gives it, at every site."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import error_of, model_path, simd_levels
from test_capture import capture, read_safetensors, write_data

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "golden"))

from reference import load  # noqa: E402

TOLERANCE = 2e-3  # nats, the project's promise for full precision
TEXT = "The painter found seven keys under the bridge."
OTHER = "My sister wrote a long letter about rain."
LAYER = 4
ONCE = ["embed", "final_norm", "logits"]
PER_HEAD = ["q", "k", "v", "pattern", "heads"]
PLAIN = ["resid_pre", "attn_in", "attn_out", "mlp_in", "mlp_act", "mlp_out", "resid_post"]


@pytest.fixture(scope="module", params=["smollm2", "gemma3"])
def subject(request, mc):
    """A model's name, the reference of it, and the ids of both texts."""
    reference = load(model_path(request.param))
    reference.plain_visit = reference.visit
    ids = {}
    for text in (TEXT, OTHER):
        ids[text] = [t["id"] for t in score(mc, request.param, text=text).json()["tokens"]]
    reference.plain = expected(reference, ids[TEXT], {})
    return request.param, reference, ids


def score(mc, name, *edits, text=TEXT, more=(), **options):
    arguments = [x for e in edits for x in ("--edit", e)]
    return mc("score", "--model", model_path(name), "--text", text, "--output", "json", *arguments, *more, **options)


def logprobs(result):
    return np.array([t["logprob"] for t in result["tokens"][1:]])


def expected(reference, ids, edits):
    """Log-probabilities with `edits`, {(site, layer): function of the value}, written."""
    reference.visit = lambda site, index, x: edits[(site, index)](x) if (site, index) in edits else x
    try:
        return np.array(reference.token_logprobs(ids)[1:])
    finally:
        reference.visit = reference.plain_visit


def check(ours, want, plain, effect=0.05):
    shift = np.abs(want - plain).max()
    error = np.abs(ours - want).max()
    print(f"|logprob error| max {error:.1e}, the edit's effect {shift:.2f}")
    assert shift > effect, "the edit does nothing: the case shows nothing"
    assert error <= TOLERANCE


def masked(change, positions=None, heads=None, axis=0):
    """`change` of the value at these positions (of `axis`) and heads (of axis 0) only."""

    def edit(x):
        index = [slice(None)] * x.ndim
        if positions is not None:
            index[axis] = positions
        if heads is not None:
            index[0] = heads
        y = x.copy()
        y[np.ix_(*[np.arange(n) if isinstance(i, slice) else i for i, n in zip(index, x.shape)])] = change(x)[
            np.ix_(*[np.arange(n) if isinstance(i, slice) else i for i, n in zip(index, x.shape)])
        ]
        return y

    return edit


@pytest.mark.parametrize("site", ONCE + PLAIN + PER_HEAD)
def test_every_site_is_where_the_reference_has_it(mc, subject, site):
    name, reference, ids = subject
    layer = 0 if site in ONCE else LAYER
    place = site if site in ONCE else f"{site}.{LAYER}"
    positions = [3, 4, 5]
    spec = f"scale {place} factor=-1.5 positions=3-5"
    if site in PER_HEAD:
        head = 0 if site in ("k", "v") else 1
        spec += f" heads={head}"
        edit = masked(lambda x: -1.5 * x, positions, [head], axis=1)
    else:
        edit = masked(lambda x: -1.5 * x, positions)
    result = score(mc, name, spec).json()
    assert result["edits"] == [spec]
    if site == "logits":  # the reference forms them a slice of the text at a time, from position 0
        assert len(ids[TEXT]) <= 64
    want = expected(reference, ids[TEXT], {(site, layer): edit})
    check(logprobs(result), want, reference.plain, effect=0.01)


def test_patching_from_a_capture(mc, subject, tmp_path):
    """The other text's stream in place of this one's, at chosen positions: from the capture's folder, and from a file."""
    name, reference, ids = subject
    data = write_data(tmp_path / "data.jsonl", ["Rain.", OTHER])
    assert capture(mc, name, data, tmp_path / "states", layers=[LAYER]).code == 0
    _, kept = reference.residual(ids[OTHER], [LAYER])
    there = kept[LAYER]
    n = min(len(ids[OTHER]), len(ids[TEXT]))

    def patch(x):
        y = x.copy()
        y[2:n] = there[2:n]
        return y

    want = expected(reference, ids[TEXT], {("resid_post", LAYER): patch})
    plain = reference.plain
    ours = logprobs(score(mc, name, f"replace resid_post.{LAYER} {tmp_path}/states prompt=1 positions=2-").json())
    check(ours, want, plain)
    np.save(tmp_path / "there.npy", there)
    saved = logprobs(score(mc, name, f"replace resid_post.{LAYER} {tmp_path}/there.npy positions=2-").json())
    check(saved, want, plain)

    def one(x):
        y = x.copy()
        y[[1, -1]] = 0.5 * there[3]
        return y

    spec = f"replace resid_post.{LAYER} {tmp_path}/states prompt=-1 row=3 factor=0.5 positions=1,-1"
    want = expected(reference, ids[TEXT], {("resid_post", LAYER): one})
    check(logprobs(score(mc, name, spec).json()), want, plain)


def test_ablations(mc, subject, tmp_path):
    """A direction taken out of every layer's stream (Arditi et al. 2024), a mean put in, a head and an MLP cut off."""
    name, reference, ids = subject
    plain = reference.plain
    rng = np.random.default_rng(5)
    direction = rng.standard_normal(reference.width)
    unit = direction / np.linalg.norm(direction)
    np.save(tmp_path / "direction.npy", direction.astype(np.float32))
    without = {("resid_post", i): lambda x: x - (x @ unit)[:, None] * unit for i in range(reference.blocks)}
    result = score(mc, name, f"project-out resid_post.all {tmp_path}/direction.npy").json()
    assert len(result["edits"]) == reference.blocks
    check(logprobs(result), expected(reference, ids[TEXT], without), plain, effect=0.01)

    data = write_data(tmp_path / "data.jsonl", ["Rain.", OTHER])
    assert capture(mc, name, data, tmp_path / "states", layers=[LAYER]).code == 0
    _, kept = reference.residual(ids[OTHER], [LAYER])
    want = {("resid_post", LAYER): masked(lambda x: np.broadcast_to(kept[LAYER].mean(0), x.shape), [2, 3])}
    spec = f"replace resid_post.{LAYER} {tmp_path}/states prompt=1 row=mean positions=2,3"
    check(logprobs(score(mc, name, spec).json()), expected(reference, ids[TEXT], want), plain)

    edits = [{"kind": "scale", "site": f"heads.{LAYER}", "factor": 0, "heads": [0, [2, 3]]},
             {"kind": "replace", "site": f"mlp_out.{LAYER + 1}", "value": 0, "positions": [[1, 4], 6]},
             {"kind": "add", "site": f"attn_out.{LAYER + 2}", "value": direction.tolist(), "factor": 0.5, "positions": "4-"},
             {"kind": "scale", "site": f"pattern.{LAYER + 3}", "factor": 0.25, "keys": [0]}]  # fmt: skip
    (tmp_path / "edits.json").write_text(json.dumps(edits))

    def keys(x):
        y = x.copy()
        y[:, :, 0] *= 0.25
        return y

    def add(x):
        y = x.copy()
        y[4:] += 0.5 * direction
        return y

    want = {("heads", LAYER): masked(lambda x: 0 * x, None, [0, 2, 3]), ("mlp_out", LAYER + 1): masked(lambda x: 0 * x, [1, 2, 3, 4, 6]),
            ("attn_out", LAYER + 2): add, ("pattern", LAYER + 3): keys}  # fmt: skip
    ours = logprobs(score(mc, name, more=["--edits", tmp_path / "edits.json"]).json())
    check(ours, expected(reference, ids[TEXT], want), plain)


def test_what_a_direction_causes(mc, subject, tmp_path):
    """`mc probe direction --check`: KL of the model to itself without the direction, against the reference's."""
    name, reference, ids = subject
    hot, cold = [[f"{a} {b}" for a in ("In summer", "Today", "On the beach", "At noon") for b in end] for end in
                 (["it is very hot.", "the sun burns.", "everyone sweats."], ["it is very cold.", "the snow falls.",
                     "everyone freezes."])]  # fmt: skip
    for label, texts in (("hot", hot), ("cold", cold)):
        data = write_data(tmp_path / f"{label}.jsonl", texts)
        assert capture(mc, name, data, tmp_path / label, "--pool", "last", layers=[LAYER, 10]).code == 0
    check_texts = write_data(tmp_path / "check.jsonl", [TEXT, OTHER])
    arguments = ["probe", "direction", tmp_path / "hot", "--against", tmp_path / "cold", "--sites", f"resid_post.{LAYER}",
                 "--out", tmp_path / "d.safetensors", "--output", "json"]  # fmt: skip
    told = mc(*arguments, "--model", model_path(name), "--check", check_texts, "--controls", 4).json()["results"][0]
    direction = read_safetensors(tmp_path / "d.safetensors")[f"resid_post.{LAYER}"].astype(np.float64)
    divergences, tokens = [], 0

    def log_probabilities(text):
        y = reference.logits(reference.residual(ids[text])[0])
        return y - y.max(-1, keepdims=True) - np.log(np.exp(y - y.max(-1, keepdims=True)).sum(-1, keepdims=True))

    agree = []
    for text in (TEXT, OTHER):
        p = log_probabilities(text)
        reference.visit = lambda site, _, x: x - (x @ direction)[:, None] * direction if site == "resid_post" else x
        q = log_probabilities(text)
        reference.visit = reference.plain_visit
        divergences.append((np.exp(p) * (p - q)).sum(-1))
        agree.append(p.argmax(-1) == q.argmax(-1))
        tokens += len(p)
    found = told["ablation"]
    want = np.concatenate(divergences).mean()
    print("KL", found["kl"], want, "controls", found["controls"])
    assert want > 1e-3, "a direction that does nothing shows nothing"
    assert found["kl"] == pytest.approx(want, rel=1e-2, abs=1e-4)
    # Two texts: the mean's error, of each text's share.
    share = [d.sum() - len(d) * want for d in divergences]
    assert found["standard_error"] == pytest.approx(np.sqrt(2 * np.square(share).sum()) / tokens, rel=2e-2, abs=1e-5)
    assert found["top1_agreement"] == pytest.approx(np.concatenate(agree).mean(), abs=1.01 / tokens)
    assert (found["texts"], found["tokens"]) == (2, tokens)
    assert len(found["controls"]) == 4 and min(found["controls"]) > 0
    assert found["p_value"] == pytest.approx((1 + sum(c >= found["kl"] for c in found["controls"])) / 5)
    assert mc(*arguments).json()["results"][0]["ablation"] is None
    assert "--check" in error_of(mc(*arguments, "--check", check_texts), 2)["message"]


def infer(mc, *edits, count=12, name="smollm2"):
    arguments = [x for e in edits for x in ("--edit", e)]
    return mc("infer", "--model", model_path(name), "--prompt", "I feel that", "--max-tokens", count, "--logprobs", "--output", "json",
              *arguments)  # fmt: skip


def test_steering_changes_what_is_said_and_zero_of_it_not_a_bit(mc, subject, tmp_path):
    name, reference, _ = subject
    vector = np.random.default_rng(8).standard_normal(reference.width)
    np.save(tmp_path / "v.npy", vector)
    _, kept = reference.residual([1, 5, 9], [LAYER])
    size = 2 * np.linalg.norm(kept[LAYER][-1]) / np.linalg.norm(vector)  # of the stream's own size
    spec = f"add resid_post.{LAYER} {tmp_path}/v.npy positions=1- factor="
    plain, steered, zero = (infer(mc, *e, name=name) for e in ([], [f"{spec}{size}"], [f"{spec}0"]))
    assert zero.exact_json()["tokens"] == plain.exact_json()["tokens"]
    told = steered.json()
    assert told["ids"] != plain.json()["ids"]
    assert len(told["edits"]) == 1
    if name != "smollm2":
        return

    def add(x):
        y = x.copy()
        y[1:] += size * vector
        return y

    reference.visit = lambda site, index, x: add(x) if (site, index) == ("resid_post", LAYER) else x
    try:
        chosen, gaps = reference.greedy(told["prompt_ids"], 4)
    finally:
        reference.visit = reference.plain_visit
    for ours, want, gap in zip(told["ids"], chosen, gaps):
        if gap < TOLERANCE:
            break
        assert ours == want


def test_the_same_bits_however_it_is_run(mc, tmp_path):
    """Chunks, threads, instruction sets and batches; a text that an edit's positions don't reach is as it was."""
    np.save(tmp_path / "v.npy", np.random.default_rng(8).standard_normal(576))
    edits = [f"add resid_post.3 {tmp_path}/v.npy positions=2-", "scale pattern.5 factor=0.5 heads=1,2", "project-out mlp_in.7 "
             f"{tmp_path}/v.npy", "scale logits factor=1.25 positions=6-"]  # fmt: skip
    want = score(mc, "smollm2", *edits).exact_json()["tokens"]
    for more, env in [(["--chunk", 3], {}), (["--threads", 1], {}), *[([], {"MC_SIMD": level}) for level in simd_levels()]]:
        assert score(mc, "smollm2", *edits, more=more, env=env).exact_json()["tokens"] == want, (more, env)
    texts = [TEXT, "Rain.", OTHER, "Nobody sold a map of the town."]
    data = write_data(tmp_path / "texts.jsonl", texts)
    arguments = [x for e in edits for x in ("--edit", e)]
    for batch in (1, 3):
        r = mc("score", "--model", model_path("smollm2"), "--file", data, "--batch-size", batch, "--output", "json", *arguments)
        assert [one["tokens"] for one in r.exact_json()["results"]] == [
            score(mc, "smollm2", *(edits if t != "Rain." else edits[1:3]), text=t).exact_json()["tokens"] for t in texts
        ]


@pytest.mark.parametrize("spec,words", [
    ("scale resid_pots.3 factor=0", ["resid_pots", "resid_post"]),
    ("scale resid_post.99 factor=0", ["99"]),
    ("mend resid_post.3", ["mend", "project-out"]),
    ("scale", ["has no site"]),
    ("scale resid_post.3 factor=much", ["factor", "much"]),
    ("scale resid_post.3 size=2", ["size"]),
    ("scale resid_post.3 factor=2 factor=3", ["twice"]),
    ("scale resid_post.3 factor=0 positions=500-", ["never fired", "500"]),
    ("scale resid_post.3 factor=0 positions=-500", ["-500"]),
    ("scale resid_post.3 factor=0 positions=x", ["positions", "x"]),
    ("scale resid_post.3 factor=0 positions=5-2", ["5-2"]),
    ("scale resid_post.3 factor=0 heads=1", ["not per head"]),
    ("scale heads.3 factor=0 heads=77", ["77"]),
    ("add resid_post.3", ["no value"]),
    ("add resid_post.3 [1,2]", ["576"]),
    ("add resid_post.3 [[1,2],[3]]", ["rows"]),
    ("add resid_post.3 [1,1e300]", ["1e+300"]),
    ("add resid_post.3 " + "[" * 50000 + "]" * 50000, ["no list"]),
    ("add resid_post.3 /no/such.npy", ["/no/such.npy"]),
    ("add resid_post.3 {here}/text.npy", [".npy"]),
    ("add resid_post.3 {here}/cut.npy", ["bytes"]),
    ("add resid_post.3 {here}/words.npy", ["<U"]),
    ("add resid_post.3 {here}/v.npy prompt=0", ["capture"]),
    ("add resid_post.3 {here}/v.npy row=5", ["row 5"]),
    ("add resid_post.3 {here}", ["manifest.json"]),
    ("add resid_post.3 {here}/v.safetensors#other", ["other", "left, right"]),
    ("add resid_post.3 {here}/v.safetensors", ["layer.3", "left, right"]),
    ("project-out resid_post.3 {here}/zero.npy", ["no length"]),
    ("add resid_post.3 {here}/odd.npy", ["element 5", "NaN"]),
], ids=lambda value: str(value)[:40])  # fmt: skip
def test_what_cannot_be_done_is_refused(mc, tmp_path, spec, words):
    np.save(tmp_path / "v.npy", np.ones((3, 576), np.float32))
    np.save(tmp_path / "zero.npy", np.zeros(576))
    np.save(tmp_path / "odd.npy", np.where(np.arange(576) == 5, np.nan, 1))
    np.save(tmp_path / "words.npy", np.array(["a"]))
    np.save(tmp_path / "column.npy", np.asfortranarray(np.ones((4, 576))))
    (tmp_path / "text.npy").write_text("no array at all")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "v.npy").read_bytes()[:-8])
    header = json.dumps({n: {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]} for i, n in enumerate(["left", "right"])})
    header += " " * (-len(header) % 8)
    (tmp_path / "v.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(8))
    error = error_of(score(mc, "smollm2", spec.format(here=tmp_path)))
    for word in words:
        assert word in error["message"] + error["where"] + error["next"], error


@pytest.mark.parametrize("text", ["", "[]", "{}", '[{"kind": "scale"}]', '[{"kind": "scale", "site": "q.1", "heads": [[1]]}]', "[3]",
    '[{"kind": "scale", "site": "q.1", "factor": ' + "[" * 300000 + "]" * 300000 + "}]"], ids=range(7))  # fmt: skip
def test_files_of_edits_that_are_none(mc, tmp_path, text):
    (tmp_path / "e.json").write_text(text)
    assert "e.json" in error_of(score(mc, "smollm2", more=["--edits", tmp_path / "e.json"]))["where"]


@pytest.mark.parametrize("engine", ["jax", "mlx"])
def test_other_engines_write_the_same(mc, engine, tmp_path):
    told = json.loads(mc("doctor", "--output", "json").out)
    status = next((e for e in told["engines"] if e["name"] == engine), None)
    if status is None or not status["available"]:
        pytest.skip(f"{status['message']}; {status['next']}" if status else f"this build has no {engine}")
    np.save(tmp_path / "v.npy", np.random.default_rng(8).standard_normal((2, 576)))
    edits = [f"add resid_post.3 {tmp_path}/v.npy row=1 positions=2-4", "scale pattern.5 factor=0 heads=1 keys=0",
             f"project-out mlp_in.7 {tmp_path}/v.npy row=0", f"replace embed {tmp_path}/v.npy factor=0.1",
             "scale heads.9 factor=0 heads=3", "scale logits factor=1.25 positions=3"]  # fmt: skip
    text = "Birds fly south when winter comes."
    cache = {"MODELCYPHER_CACHE": str(tmp_path / "cache")}
    plain = logprobs(score(mc, "smollm2", text=text).json())
    want = logprobs(score(mc, "smollm2", *edits, text=text).json())
    ours = logprobs(score(mc, "smollm2", *edits, text=text, more=["--backend", engine], env=cache).json())
    assert np.abs(want - plain).max() > 0.05
    assert np.abs(ours - want).max() <= TOLERANCE
