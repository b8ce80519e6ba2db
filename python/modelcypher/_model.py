"""Models: tokens, generation, scores and what happens inside."""
from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import _mc, _ops

Array = _mc.Array
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
        return self._inner.encode(text, special, add_bos)

    def detokenize(self, ids: Iterable[int], *, skip_special: bool = True) -> str:
        """The text of ids; bytes that are no whole character become U+FFFD."""
        return self._inner.decode([int(i) for i in ids], skip_special).decode("utf-8", "replace")

    def tokens(self, text: Text) -> list[str]:
        """The pieces of a text as the model sees them."""
        return [self._inner.token_text(i).decode("utf-8", "replace") for i in self._ids(text)]

    def _ids(self, text: Text, special: bool = False) -> list[int]:
        return self.tokenize(text, special=special) if isinstance(text, str) else [int(i) for i in text]

    def generate(
        self, prompt: Text, max_tokens: int = 128, *, temperature: float = 0.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0,
        repetition_penalty: float = 1.0, seed: int = 0, stop: str | Sequence[str] = (), logprobs: bool = False, ignore_eos: bool = False,
        special: bool = False,
    ) -> Generation:  # fmt: skip
        """An iterator over Tokens; .text and .result run to the end. Temperature 0 takes the most probable token.

            for token in model.generate("Once upon a time"):
                print(token.text, end="", flush=True)
        """
        options = {
            "max_tokens": max_tokens, "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
            "repetition_penalty": repetition_penalty, "seed": seed, "stop": [stop] if isinstance(stop, str) else list(stop),
            "logprobs": logprobs, "ignore_eos": ignore_eos,
        }
        with _mc.device_scope(self.device):
            return Generation(self._inner.generate(self._ids(prompt, special), options))

    def score(self, text: Text | Sequence[Text]) -> Score | list[Score]:
        """Logprobs of the tokens of one text, or of several at once; the batch changes no bit of the result."""
        single = isinstance(text, str) or (len(text) > 0 and isinstance(text[0], int))
        rows = [self._ids(t) for t in ([text] if single else text)]
        with _mc.device_scope(self.device):
            scores = [Score(ids, row) for ids, row in zip(rows, self._inner.score(rows, 512))]
        return scores[0] if single else scores

    def hidden(self, text: Text, layers: int | Sequence[int] | None = None) -> Any:
        """The residual stream (tokens, hidden) after a layer, or {layer: array} for several; None: all layers."""
        chosen = range(self.config["layers"]) if layers is None else [layers] if isinstance(layers, int) else list(layers)
        with _mc.device_scope(self.device):
            arrays = [_mc.squeeze(a, 0) for a in self._inner.residuals(self._ids(text), list(chosen))[:-1]]
        if isinstance(layers, int):
            return arrays[0]
        return dict(zip((self._inner.layer_index(i) for i in chosen), arrays))

    def capture(
        self, data: Any, layers: int | Sequence[int] | None = None, sites: str | Sequence[str] = "residual", *, pool: str = "none",
        out: str | os.PathLike[str] | None = None, batch_size: int = 4, progress: Callable[[int, int, float], Any] | bool | None = None,
    ) -> Any:  # fmt: skip
        """The residual stream after layers, of many texts. `data`: texts, or the path of JSON lines with "text". `pool`:
        "none" (every token), "last" or "mean".

        Without `out`, {layer: [array of each text]}, or {layer: array (texts, hidden)} with a pool. With `out`, a folder
        that does not exist yet, shards of safetensors and a manifest are written there (docs/files.md), in memory that
        does not grow with the data, and a summary comes back. `progress` is called with prompts, tokens and seconds;
        True shows a bar, and returning False stops."""
        if ([sites] if isinstance(sites, str) else list(sites)) != ["residual"]:
            raise NotImplementedError("capture takes the site 'residual', the stream after a layer")
        if pool not in ("none", "last", "mean"):
            raise ValueError(f"pool is 'none', 'last' or 'mean', not {pool!r}")
        chosen = list(range(self.config["layers"])) if layers is None else [layers] if isinstance(layers, int) else list(layers)
        if out is None:
            return self._capture_arrays(data, chosen, pool)
        bar = _Bar() if progress is True else None
        call = bar or (progress if callable(progress) else None)
        try:
            with _data_file(data) as path, _mc.device_scope(self.device):
                return self._inner.capture(str(path), str(out), chosen, batch_size, pool, call)
        finally:
            if bar:
                bar.close()

    def _capture_arrays(self, data: Any, layers: list[int], pool: str) -> dict[int, Any]:
        names = [self._inner.layer_index(i) for i in layers]
        if len(set(names)) != len(names):
            raise ValueError("each layer may be named once")
        rows: dict[int, list[Array]] = {n: [] for n in names}
        for text in _texts(data):
            for layer, a in self.hidden(text, layers).items():
                if pool == "last":
                    a = a[-1]
                elif pool == "mean":
                    a = _mc.astype(_mc.mean(_mc.astype(a, _mc.float64), 0, False), a.dtype)
                rows[layer].append(a)
        return dict(rows) if pool == "none" else {n: _ops.stack(r) for n, r in rows.items()}

    def memory_plan(self, tokens: int, rows: int = 1) -> dict[str, int]:
        """Bytes that `rows` sequences of so many tokens need on the device."""
        with _mc.device_scope(self.device):
            return self._inner.memory_plan(tokens, rows)


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


def load(path: str | os.PathLike[str], *, device: Any = None, dtype: Any = "float32", fast: bool = False) -> Model:
    """Opens a GGUF file, or a Hugging Face or MLX directory. Weights stay mapped. `fast` rounds activations to 8 bits for
    quantized products (docs/contract.md); `dtype` is that of activations."""
    target = _mc.default_device() if device is None else _mc.Device(device)
    with _mc.device_scope(target):
        return Model(_mc.load_model(os.fspath(path), fast, dtype), os.fspath(path), target)


__all__ = ["Generation", "Model", "Score", "Token", "load"]
