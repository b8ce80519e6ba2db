"""What every decoder has: embedding in, residual stream through blocks, final norm, head, log-probabilities."""

from __future__ import annotations

import numpy as np

from .layers import rms_norm

VOCABULARY_SLICE = 16384  # rows of the head widened at once, so that 262,144 of them never lie in memory as float64


class Decoder:
    """Subclasses set `blocks` and define `embed(ids)` and `block(index, x)`.

    `visit(site, index, x)` sees every named place of docs/sites.md and returns what is used from there on; heads come first:
    [heads, positions, dim], a pattern [heads, positions, keys]. `index` is the block, 0 where there is only one such place."""

    def __init__(self, checkpoint):
        self.checkpoint = checkpoint
        self.width = checkpoint.hyper("embedding_length")
        self.blocks = checkpoint.hyper("block_count")
        self.epsilon = checkpoint.hyper("attention.layer_norm_rms_epsilon")
        self.head = "output.weight" if checkpoint.has("output.weight") else "token_embd.weight"
        self.vocabulary = checkpoint.row_count(self.head)
        self.final_norm = checkpoint.rows("output_norm.weight")
        self.cached = {}
        self.visit = lambda site, index, x: x

    def weight(self, index, name):
        key = f"blk.{index}.{name}.weight"
        if key not in self.cached:
            self.cached[key] = self.checkpoint.rows(key)
        return self.cached[key]

    def linear(self, x, index, name):
        return x @ self.weight(index, name).T

    def residual(self, ids, layers=()):
        """The stream after the last block, and {layer: stream after block `layer`} before any final norm: [positions, width]."""
        kept = {}
        x = self.visit("embed", 0, self.embed(np.asarray(ids)))
        for index in range(self.blocks):
            x = self.visit("resid_post", index, self.block(index, self.visit("resid_pre", index, x)))
            if index in layers:
                kept[index] = x.copy()
        return x, kept

    def logits(self, x):
        """Logits [rows, vocabulary] of residual rows."""
        x = self.visit("final_norm", 0, rms_norm(x, self.final_norm, self.epsilon))
        slices = range(0, self.vocabulary, VOCABULARY_SLICE)
        y = np.concatenate([x @ self.checkpoint.rows(self.head, s, s + VOCABULARY_SLICE).T for s in slices], axis=-1)
        return self.visit("logits", 0, y)

    def token_logprobs(self, ids):
        """The log-probability of each token given those before it; None for the first."""
        x, _ = self.residual(ids)
        result = [None]
        for start in range(0, len(ids) - 1, 64):
            stop = min(start + 64, len(ids) - 1)
            logits = self.logits(x[start:stop])
            top = logits.max(axis=-1)
            normalizer = top + np.log(np.exp(logits - top[:, None]).sum(axis=-1))
            chosen = logits[np.arange(stop - start), np.asarray(ids[start + 1 : stop + 1])]
            result.extend((chosen - normalizer).tolist())
        return result

    def greedy(self, ids, count):
        """`count` tokens, each the most probable one, and by how many nats it beat the second."""
        ids, chosen, gaps = list(ids), [], []
        for _ in range(count):
            x, _ = self.residual(ids)
            logits = self.logits(x[-1:])[0]
            second, first = np.argsort(logits, kind="stable")[-2:]
            chosen.append(int(first))
            gaps.append(float(logits[first] - logits[second]))
            ids.append(int(first))
        return chosen, gaps
