"""Models: tokens, generation, scores and what happens inside."""
from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import _mc, _ops
from ._mc import Array

Text = str | Sequence[int]


class Token(NamedTuple):
    """One step of a generation. `text` is what can be shown now: it never ends within a character. `id` is None for text
    that was held back (part of a possible stop string) and comes at the end."""

    id: int | None
    text: str
    logprob: float | None


class Generation(Iterator[Token]):
    """Tokens as they are computed, on a thread of its own, a few ahead of the reader. Dropping it stops the work."""

    def __init__(self, inner: Any):
        self._inner = inner

    def __iter__(self) -> Generation:
        return self

    def __next__(self) -> Token:
        id_, text, logprob, rest = next(self._inner)
        return Token(None if rest else id_, text, logprob)

    def close(self) -> None:
        """Stops after the token that is being computed."""
        self._inner.close()

    def __enter__(self) -> Generation:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()

    @property
    def result(self) -> dict[str, Any]:
        """prompt_ids, ids, logprobs, text, stop_reason and times in seconds. Runs what has not run yet."""
        for _ in self:
            pass
        return self._inner.result()

    @property
    def text(self) -> str:
        """All of the text. Runs what has not run yet."""
        return self.result["text"]


class Edit(NamedTuple):
    """What to write at a site while a model runs (docs/sites.md). `kind`: "replace", "scale", "project-out" or "add"; `sites` as
    "resid_post.12,q.0-5"; `value`: a number or an array, of a token or of each ((n, …), row p at position p); `positions` of
    tokens, `heads` and `keys`: integers or inclusive pairs (a, b); none: all. Negative positions count from the text's end."""

    kind: str
    sites: str
    value: Any = None
    factor: float = 1.0
    positions: Sequence[int | tuple[int, int]] = ()
    heads: Sequence[int] = ()
    keys: Sequence[int | tuple[int, int]] = ()

    def _told(self, tokens: int | None) -> tuple[Any, ...]:
        def place(i: int) -> int:
            if i < 0 and tokens is None:
                raise ValueError("positions from the end need one text, whose length is known")
            return i + tokens if i < 0 else i

        def ranges(items: Any, at: Callable[[int], int]) -> list[tuple[int, int]]:
            return [(at(x), at(x)) if isinstance(x, int) else (at(x[0]), at(x[1])) for x in items]

        value = None if self.value is None else _ops.asarray(self.value)
        return (self.kind, self.sites, value, float(self.factor), ranges(self.positions, place), list(self.heads), ranges(self.keys, int))


def _from_end(edits: Any) -> bool:
    """Whether one counts positions from the text's end, which needs one text at a time."""
    if isinstance(edits, (_Told, str)):
        return False
    for e in [edits] if isinstance(edits, Edit) else edits:
        if not isinstance(e, str) and any((x if isinstance(x, int) else min(x)) < 0 for x in Edit(*e).positions):
            return True
    return False


def _shown(x: Any) -> str:
    return f"{type(x).__name__} {x!r}"[:80]


def _bytes(size: int | str) -> int:
    n = _mc.parse_byte_size(str(size))
    if n is None:
        raise ValueError(f"{size!r} is no size: for example '2GiB', '512MiB' or a number of bytes")
    return n


class _Told(list):  # type: ignore[type-arg]
    """Edits in the form that the engine takes."""


def _edits(edits: Any, tokens: int | None) -> list[Any]:
    if isinstance(edits, _Told):
        return edits
    single = isinstance(edits, (str, Edit))
    return [e if isinstance(e, str) else Edit(*e)._told(tokens) for e in ([edits] if single else edits)]


def _sites(sites: str | Sequence[str]) -> str:
    return sites if isinstance(sites, str) else ",".join(sites)


class Score(NamedTuple):
    """ids and the natural logprob of each but the first, given those before it."""

    ids: list[int]
    logprobs: list[float]

    @property
    def total(self) -> float:
        return sum(self.logprobs)

    @property
    def perplexity(self) -> float:
        import math

        return math.exp(-self.total / len(self.logprobs)) if self.logprobs else float("nan")


class Model:
    """What load() gives. Methods may be called from several threads; the GIL is released while engines run."""

    def __init__(self, inner: Any, path: str, device: Any):
        self._inner, self.path, self.device = inner, path, device

    def __repr__(self) -> str:
        c = self.config
        shape = f"{c['architecture']}, {c['layers']} layers, hidden {c['hidden']}"
        return f"Model({self.path!r}, {shape}, {self._inner.dtype.name}, {self.device})"

    @property
    def config(self) -> dict[str, Any]:
        return self._inner.config

    @property
    def dtype(self) -> Any:
        return self._inner.dtype

    @property
    def special_tokens(self) -> dict[str, Any]:
        """Ids of bos, eos, eot, unk and pad (None where the model has none), and `end`: all that end a text."""
        return self._inner.special_ids()

    def tokenize(self, text: str, *, special: bool = False, add_bos: bool | None = None) -> list[int]:
        """The ids of a text. `special` reads "<|im_end|>" and the like as tokens; bos is added as the model's file says."""
        if not isinstance(text, str):
            raise TypeError(f"tokenize takes a str, not {_shown(text)}")
        return self._inner.encode(text, special, add_bos)

    def detokenize(self, ids: Iterable[int], *, skip_special: bool = True) -> str:
        """The text of ids; bytes that are no whole character become U+FFFD."""
        return self._inner.decode([int(i) for i in ids], skip_special).decode("utf-8", "replace")

    def tokens(self, text: Text) -> list[str]:
        """The pieces of a text as the model sees them."""
        return [self._inner.token_text(i).decode("utf-8", "replace") for i in self._ids(text)]

    def tokenize_with_offsets(
        self, text: str, *, special: bool = False, add_bos: bool | None = None
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of a text, and for each the characters of the text that it stands for: text[begin:end]."""
        ids, spans = self._inner.encode_with_spans(text, special, add_bos)
        at, place = {0: 0}, 0
        for i, c in enumerate(text, 1):
            place += len(c.encode("utf-8"))
            at[place] = i
        return ids, [(at[a], at[b]) for a, b in spans]

    def chat_text(
        self, messages: Sequence[dict[str, Any]], *, tools: Sequence[Any] | None = None, add_generation_prompt: bool = True,
        special: bool = False, template: str | None = None, name: str = "", **variables: Any,
    ) -> tuple[str, list[int]]:  # fmt: skip
        """The text of a conversation as the model's chat template writes it, and its ids (docs/chat.md). `template`: Jinja in place of
        the model's; `name`: one of several; `variables` go to the template. Control tokens in messages are text unless `special`."""
        options = {
            "tools": json.dumps(list(tools), ensure_ascii=False) if tools is not None else "",
            "add_generation_prompt": add_generation_prompt,
            "special": special, "template": template, "name": name,
            "variables": json.dumps(variables, ensure_ascii=False) if variables else "",
        }  # fmt: skip
        return self._inner.chat(json.dumps(list(messages), ensure_ascii=False), options)

    def embed(
        self, texts: str | Sequence[str], *, pool: str | None = None, normalize: bool = False, batch_size: int = 8
    ) -> Any:
        """One vector a text, (d,) or (texts, d) float32: `pool` "mean", "first" or "last" (None: as the model's files say)."""
        single = isinstance(texts, str)
        with _mc.device_scope(self.device):
            rows = _ops.asarray(self._inner.embed([texts] if single else list(texts), pool, normalize, batch_size), dtype=_mc.float32)
            return rows[0] if single else rows

    def _ids(self, text: Any, special: bool = False) -> list[int]:
        if isinstance(text, (list, tuple)) and text and isinstance(text[0], dict):
            return self.chat_text(text, special=special)[1]
        if isinstance(text, str):
            return self.tokenize(text, special=special)
        try:
            return [int(i) for i in text]
        except (TypeError, ValueError):
            raise TypeError(f"a text is a str, a sequence of token ids or a list of messages, not {_shown(text)}") from None

    def generate(
        self, prompt: Text, max_tokens: int = 128, *, temperature: float = 0.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0,
        repetition_penalty: float = 1.0, seed: int = 0, stop: str | Sequence[str] = (), logprobs: bool = False, ignore_eos: bool = False,
        special: bool = False, edits: Any = (),
    ) -> Generation:  # fmt: skip
        """An iterator over Tokens; .text and .result run to the end. Temperature 0 takes the most probable token. A prompt that is a
        list of messages ({"role": …, "content": …}) goes through the chat template. `edits`: Edits, or lines as `mc --edit` takes
        them, written in every pass.

            for token in model.generate("Once upon a time"):
                print(token.text, end="", flush=True)
        """
        options = {
            "max_tokens": max_tokens, "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
            "repetition_penalty": repetition_penalty, "seed": seed, "stop": [stop] if isinstance(stop, str) else list(stop),
            "logprobs": logprobs, "ignore_eos": ignore_eos,
        }
        with _mc.device_scope(self.device):
            ids = self._ids(prompt, special)
            return Generation(self._inner.generate(ids, options | {"edits": _edits(edits, len(ids))}))

    def score(self, text: Text | Sequence[Text], *, edits: Any = ()) -> Score | list[Score]:
        """Logprobs of the tokens of one text, or of several at once; the batch changes no bit of the result. `edits` are written
        while it runs: Edits, or lines as `mc --edit` takes them."""
        if not hasattr(text, "__len__"):
            raise TypeError(f"score takes a text or a list of texts, not {_shown(text)}")
        single = isinstance(text, str) or (len(text) > 0 and isinstance(text[0], int))
        rows = [self._ids(t) for t in ([text] if single else text)]
        with _mc.device_scope(self.device):
            written = _edits(edits, len(rows[0]) if len(rows) == 1 else None)
            scores = [Score(ids, row) for ids, row in zip(rows, self._inner.score(rows, 512, written))]
        return scores[0] if single else scores

    def hidden(self, text: Text, layers: int | Sequence[int] | None = None) -> Any:
        """The residual stream (tokens, hidden) after a layer, or {layer: array} for several; None: all layers."""
        chosen = range(self.config["layers"]) if layers is None else [layers] if isinstance(layers, int) else list(layers)
        with _mc.device_scope(self.device):
            places = ",".join(f"resid_post.{self._inner.layer_index(i)}" for i in chosen)
            arrays = [_mc.squeeze(a, 0) for a in self._inner.activations(self._ids(text), places, [])[:-1]]
        if isinstance(layers, int):
            return arrays[0]
        return dict(zip((self._inner.layer_index(i) for i in chosen), arrays))

    def activations(self, text: Text, sites: str | Sequence[str], *, edits: Any = ()) -> dict[str, Any]:
        """What one text has at sites ("resid_post.12", "q.0-5,embed", docs/sites.md): {name: array (tokens, …)}, `pattern` (heads,
        tokens, keys); read while `edits` are written."""
        ids, places = self._ids(text), _sites(sites)
        names = [name for name, _, _ in self._inner.site_order(places)]
        with _mc.device_scope(self.device):
            arrays = self._inner.activations(ids, places, _edits(edits, len(ids)))
            return {name: _mc.squeeze(a, 0) for name, a in zip(names, arrays)}

    def run_with_hooks(
        self, text: Text, hooks: dict[str, Callable[[Any], Any]], sites: str | Sequence[str] = "logits", *, edits: Any = ()
    ) -> dict[str, Any]:
        """activations() at `sites`, with functions called on the way: hooks {site: function} in the order in which the model comes by.
        A function gets the array (tokens, …) at its site, as the hooks before it left it, and gives None, or the array of that shape
        that goes on in its place. Each hook costs a pass over the text; one that gives its array back changes no bit."""
        ids = self._ids(text)
        places = ((layer, kind, name, f) for key, f in hooks.items() for name, layer, kind in self._inner.site_order(key))
        order = sorted(places, key=lambda place: place[:3])  # several at one site: in the order given
        written = _edits(edits, len(ids))
        for _, _, name, function in order:
            if name.startswith("pattern."):
                raise ValueError("a hook can't replace attention patterns; use an Edit of them")
            value = self.activations(ids, name, edits=_Told(written))[name]
            given = function(value)
            if given is None:
                continue
            given = _ops.asarray(given)
            if tuple(given.shape) != tuple(value.shape):
                raise ValueError(f"the hook at {name} gave the shape {tuple(given.shape)}, its site has {tuple(value.shape)}")
            written = [*written, ("replace", name, given, 1.0, [], [], [])]
        return self.activations(ids, sites, edits=_Told(written))

    def capture(
        self, data: Any, layers: int | Sequence[int] | None = None, sites: str | Sequence[str] = "residual", *, pool: str = "none",
        out: str | os.PathLike[str] | None = None, batch_size: int | None = None, max_memory: int | str | None = None,
        positions: str | None = None, edits: Any = (), resume: bool = False, shard: tuple[int, int] = (0, 1),
        progress: Callable[[int, int, float], Any] | bool | None = None,
    ) -> Any:  # fmt: skip
        """What a model computes for many texts: the residual stream after `layers`, or at `sites` ("q.0-5,resid_post.12"). `data`:
        texts, or the path of JSON lines with "text". `pool`: "none" (every token), "last" or "mean".

        Without `out`, {layer or site: [array of each text]}, or {…: array (texts, …)} with a pool. With `out`, a folder
        that does not exist yet, shards of safetensors and a manifest are written there (docs/capture.md), in memory that
        does not grow with the data, and a summary comes back; `resume` and `shard` (part, parts) are as those of `mc probe capture`.
        `positions` ("0,-1") chooses tokens. `batch_size` texts are computed side by side (4), which changes no bit; `max_memory`
        ("2GiB", or bytes) takes the largest batch whose peak fits, or raises MemoryError naming the smallest change that fits.
        `progress` is called with prompts, tokens and seconds; True shows a bar, and returning False stops."""
        if pool not in ("none", "last", "mean"):
            raise ValueError(f"pool is 'none', 'last' or 'mean', not {pool!r}")
        by_layer = _sites(sites) == "residual"
        chosen = list(range(self.config["layers"])) if layers is None else [layers] if isinstance(layers, int) else list(layers)
        if not by_layer and layers is not None:
            raise ValueError("sites name their layers: give layers= or sites=, not both")
        places = ",".join(f"resid_post.{self._inner.layer_index(i)}" for i in chosen) if by_layer else _sites(sites)
        if out is None and (resume or tuple(shard) != (0, 1)):
            raise ValueError("resume= and shard= go with out=")
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size is 1 or more, not {batch_size}")
        order = self._inner.site_order(places)  # a site that is named twice is an error
        keys = [layer if by_layer else name for name, layer, _ in order]
        if out is None and (any(k == "pattern" or str(k).startswith("pattern.") for k in keys) or _from_end(edits)):
            if positions is not None or max_memory is not None:
                raise ValueError("patterns, and edits at positions from the end, go text by text: without positions= and max_memory=")
            return self._capture_one_by_one(data, places, keys, pool, edits)
        rows: dict[Any, list[Array]] = {key: [] for key in keys}

        def each(arrays: list[Array]) -> None:
            for key, a in zip(keys, arrays):
                rows[key].append(a if pool == "none" else a[0])

        bar = _Bar() if progress is True else None
        call = bar or (progress if callable(progress) else None)
        options = {
            "out": "" if out is None else os.fspath(out), "sites": places, "positions": positions, "batch_size": batch_size or 0,
            "max_memory": None if max_memory is None else _bytes(max_memory), "pool": pool, "resume": resume,
            "part": shard[0], "parts": shard[1], "edits": _edits(edits, None), "each": each if out is None else None,
        }  # fmt: skip
        try:
            with _data_file(data) as path, _mc.device_scope(self.device):
                told = self._inner.capture(options | {"data": str(path)}, call)
                if out is not None:
                    return told
                return rows if pool == "none" else {key: _ops.stack(r) for key, r in rows.items()}
        finally:
            if bar:
                bar.close()

    def _capture_one_by_one(self, data: Any, places: str, keys: list[Any], pool: str, edits: Any) -> dict[Any, Any]:
        rows: dict[Any, list[Array]] = {key: [] for key in keys}
        for text in _texts(data):
            for key, a in zip(keys, self.activations(text, places, edits=edits).values()):
                if pool == "last":
                    a = a[-1]
                elif pool == "mean":
                    a = _mc.astype(_mc.mean(_mc.astype(a, _mc.float64), 0, False), a.dtype)
                rows[key].append(a)
        return dict(rows) if pool == "none" else {n: _ops.stack(r) for n, r in rows.items()}

    def memory_plan(self, tokens: int, rows: int = 1) -> dict[str, int]:
        """Bytes that `rows` sequences of so many tokens need on the device."""
        with _mc.device_scope(self.device):
            return self._inner.memory_plan(tokens, rows)


    def plan(
        self, prompt_tokens: int = 512, max_tokens: int = 128, *, batch_size: int = 4, layers: int | Sequence[int] | None = None,
        sites: str | Sequence[str] | None = None, pool: str = "none",
    ) -> list[Plan]:  # fmt: skip
        """The memory that generate, score (of an encoder: embed) and a capture of `layers` or `sites` (none: no capture) would take,
        as `mc plan` tells it; nothing is computed. `batch_size`: texts side by side in a capture or embed."""
        if layers is not None and sites is not None:
            raise ValueError("sites name their layers: give layers= or sites=, not both")
        chosen = [] if layers is None else [layers] if isinstance(layers, int) else layers
        places = _sites(sites) if sites is not None else ",".join(f"resid_post.{self._inner.layer_index(i)}" for i in chosen)
        options = {"prompt_tokens": prompt_tokens, "max_tokens": max_tokens, "batch_size": batch_size, "pool": pool, "sites": places}
        with _mc.device_scope(self.device):
            return [Plan(**p) for p in _mc.plan(self._inner, options)]


class Plan(NamedTuple):
    """Bytes. `process`: the peak of this process, with what is resident already (on an engine with memory of its own only the host's
    part). `total`: the engine's: `weights` in its packed form, `cache` and the larger workspace; `host`: results on their way to a file."""

    command: str
    rows: int
    tokens: int
    capacity: int
    weights: int
    cache: int
    prefill: int
    decode: int
    total: int
    host: int
    process: int


class _Bar:
    """One line on stderr; nothing where nobody looks."""

    def __init__(self) -> None:
        import sys

        self._out, self._shown = sys.stderr, False

    def __call__(self, prompts: int, tokens: int, seconds: float) -> None:
        if self._out.isatty() or "ipykernel" in __import__("sys").modules:
            self._out.write(f"\r{prompts} prompts, {tokens} tokens, {tokens / max(seconds, 1e-9):.0f} tokens/s ")
            self._out.flush()
            self._shown = True

    def close(self) -> None:
        if self._shown:
            self._out.write("\n")


def _texts(data: Any) -> Iterator[str]:
    if not isinstance(data, (str, os.PathLike)):
        yield from data
        return
    for number, line in enumerate(Path(data).read_text("utf-8").splitlines(), 1):
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict) or not isinstance(row.get("text"), str):
                raise ValueError(f'{data}, line {number}: a JSON object with "text" is needed')
            yield row["text"]


class _data_file:  # noqa: N801
    """The path of JSON lines, written to a temporary file where texts were given."""

    def __init__(self, data: Any):
        self._data, self._made = data, None

    def __enter__(self) -> Any:
        if isinstance(self._data, (str, os.PathLike)):
            return os.fspath(self._data)
        handle, self._made = tempfile.mkstemp(suffix=".jsonl")
        with open(handle, "w", encoding="utf-8") as f:
            for text in self._data:
                f.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
        return self._made

    def __exit__(self, *exc: Any) -> None:
        if self._made:
            os.unlink(self._made)


def load(
    path: str | os.PathLike[str], *, device: Any = None, dtype: Any = "float32", fast: bool = False, quantize: str = "", context: int = 0
) -> Model:
    """Opens a GGUF file, or a Hugging Face or MLX directory. Weights stay mapped. `fast` rounds activations to 8 bits for
    quantized products (docs/contract.md); `dtype` is that of activations; `quantize` ("affine4", "affine8:32") converts weights;
    `context`: how long texts may get, for models whose rotation is scaled by it."""
    target = _mc.default_device() if device is None else _mc.Device(device)
    with _mc.device_scope(target):
        return Model(_mc.load_model(os.fspath(path), fast, dtype, quantize, context), os.fspath(path), target)


__all__ = ["Edit", "Generation", "Model", "Plan", "Score", "Token", "load"]
