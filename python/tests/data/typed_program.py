"""A user's program that mypy --strict must accept (python/tests/test_typing.py); it is checked, never run."""
from __future__ import annotations

import modelcypher as mc
from modelcypher.backends import get_backend


def loss(w: mc.Array) -> mc.Array:
    return mc.sum(mc.tanh(w @ w.T) ** 2) + 2.0 * w.mean(axis=0).max()


x: mc.Array = mc.array([[1.0, 2.0], [3.0, 4.0]])
y: mc.Array = mc.where(x > 1, -x, x / 2)[0, :].reshape(2, 1).astype(mc.float64)
shape: tuple[int, ...] = y.shape
name: str = y.dtype.name
limit: mc.Array = mc.maximum(x, 0.5) + mc.sort(x, axis=-1) + mc.linalg.svdvals(x)
gradient = mc.grad(loss)(x)
device: mc.Device = mc.default_device()

model: mc.Model = mc.load("model.gguf")
for token in model.generate("Once", max_tokens=4):
    text: str = token.text
edit: mc.Edit = mc.Edit("scale", "heads.5", factor=0.0)
score = model.score("Hello", edits=edit)
if not isinstance(score, list):
    perplexity: float = score.perplexity
states = model.capture(["one"], layers=[3], pool="mean")
backend = get_backend("numpy")
c = backend.matmul(backend.ones((2, 3)), backend.zeros((3, 2)))
