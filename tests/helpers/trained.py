"""A small BERT trained from scratch with numpy: a model whose answers mean something, as no random one's do.

Task: which of the labels' groups of tokens is the most frequent in a sequence (ties are not drawn). Forward and
backward passes are written out layer by layer; Adam (Kingma and Ba 2014) with its own constants.
"""

from __future__ import annotations

import os
import subprocess
import sys
from math import erf, pi, sqrt
from pathlib import Path

import numpy as np

LAYERS, HIDDEN, HEADS, FFN, VOCABULARY, LENGTH, LABELS = 2, 32, 2, 64, 24, 16, 3
HEAD = HIDDEN // HEADS
EPSILON = 1e-12
ERF = np.vectorize(erf, otypes=[np.float64])
GRID = np.linspace(-8, 8, 16001)
ERF_GRID = ERF(GRID)


def draw(rng, count):
    """Sequences [count, LENGTH] and their labels; token 0 stands first, as [CLS] does."""
    ids = np.zeros((0, LENGTH), np.int64)
    labels = np.zeros(0, np.int64)
    while len(ids) < count:
        more = rng.integers(1, VOCABULARY, (2 * count, LENGTH))
        more[:, 0] = 0
        votes = np.stack([(more[:, 1:] % LABELS == label).sum(axis=1) for label in range(LABELS)], axis=1)
        clear = np.sort(votes, axis=1)[:, -1] > np.sort(votes, axis=1)[:, -2]
        ids, labels = np.concatenate([ids, more[clear]]), np.concatenate([labels, votes[clear].argmax(axis=1)])
    return ids[:count], labels[:count]


def fresh(rng):
    """Weights under the names of the published models, [in, out] for dense layers."""
    w = {"embeddings.word_embeddings": rng.normal(0, 0.2, (VOCABULARY, HIDDEN))}
    w["embeddings.position_embeddings"] = rng.normal(0, 0.2, (LENGTH, HIDDEN))
    w["embeddings.token_type_embeddings"] = rng.normal(0, 0.2, (2, HIDDEN))

    def norm(name):
        w[f"{name}.weight"], w[f"{name}.bias"] = np.ones(HIDDEN), np.zeros(HIDDEN)

    def dense(name, rows, cols):
        w[f"{name}.weight"], w[f"{name}.bias"] = rng.normal(0, rows**-0.5, (rows, cols)), np.zeros(cols)

    norm("embeddings.LayerNorm")
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        for part in ("query", "key", "value"):
            dense(f"{at}attention.self.{part}", HIDDEN, HIDDEN)
        dense(f"{at}attention.output.dense", HIDDEN, HIDDEN)
        dense(f"{at}intermediate.dense", HIDDEN, FFN)
        dense(f"{at}output.dense", FFN, HIDDEN)
        norm(f"{at}attention.output.LayerNorm")
        norm(f"{at}output.LayerNorm")
    dense("pooler.dense", HIDDEN, HIDDEN)
    dense("classifier", HIDDEN, LABELS)
    return w


class Tape:
    """Forward steps on [batch, length, ...]; each notes how gradients go back through it."""

    def __init__(self, w):
        self.w, self.back, self.grad = w, [], {name: np.zeros_like(v) for name, v in w.items()}

    def dense(self, name, x):
        def back(g):
            self.grad[f"{name}.weight"] += np.tensordot(x, g, (range(x.ndim - 1),) * 2)
            self.grad[f"{name}.bias"] += g.reshape(-1, g.shape[-1]).sum(axis=0)
            return g @ self.w[f"{name}.weight"].T

        return x @ self.w[f"{name}.weight"] + self.w[f"{name}.bias"], back

    def norm(self, name, x):
        deviation = np.sqrt(x.var(axis=-1, keepdims=True) + EPSILON)
        normed = (x - x.mean(axis=-1, keepdims=True)) / deviation

        def back(g):
            self.grad[f"{name}.weight"] += (g * normed).reshape(-1, HIDDEN).sum(axis=0)
            self.grad[f"{name}.bias"] += g.reshape(-1, HIDDEN).sum(axis=0)
            g = g * self.w[f"{name}.weight"]
            along = (g * normed).mean(axis=-1, keepdims=True)
            return (g - g.mean(axis=-1, keepdims=True) - normed * along) / deviation

        return normed * self.w[f"{name}.weight"] + self.w[f"{name}.bias"], back

    def attention(self, at, x):
        """Self-attention with its projections."""

        def split(y):
            return y.reshape(*y.shape[:2], HEADS, HEAD).transpose(0, 2, 1, 3)

        def joined(y):
            return y.transpose(0, 2, 1, 3).reshape(len(y), -1, HIDDEN)

        (q, back_q), (k, back_k), (v, back_v) = (self.dense(f"{at}{p}", x) for p in ("query", "key", "value"))
        q, k, v = split(q), split(k), split(v)
        scores = q @ k.swapaxes(-1, -2) / sqrt(HEAD)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)

        def back(g):
            g = split(g)
            on_shares = g @ v.swapaxes(-1, -2)
            on_scores = shares * (on_shares - (on_shares * shares).sum(axis=-1, keepdims=True)) / sqrt(HEAD)
            gradients = (on_scores @ k, on_scores.swapaxes(-1, -2) @ q, shares.swapaxes(-1, -2) @ g)
            return sum(step(joined(one)) for step, one in zip((back_q, back_k, back_v), gradients, strict=True))

        return joined(shares @ v), back


def gelu(x):
    half = (1 + np.interp(x / sqrt(2), GRID, ERF_GRID)) / 2
    return x * half, lambda g: g * (half + x * np.exp(-x * x / 2) / sqrt(2 * pi))


def step(w, ids, labels):
    """(loss, logits, gradients) of a batch."""
    tape = Tape(w)
    places = {"word": ids, "position": np.broadcast_to(np.arange(LENGTH), ids.shape), "token_type": ids * 0}
    backs = []
    x = sum(w[f"embeddings.{name}_embeddings"][rows] for name, rows in places.items())
    x, back_embedding = tape.norm("embeddings.LayerNorm", x)
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        context, a = tape.attention(f"{at}attention.self.", x)
        projected, b = tape.dense(f"{at}attention.output.dense", context)
        attended, c = tape.norm(f"{at}attention.output.LayerNorm", x + projected)
        wide, d = tape.dense(f"{at}intermediate.dense", attended)
        active, e = gelu(wide)
        reduced, f = tape.dense(f"{at}output.dense", active)
        x, g = tape.norm(f"{at}output.LayerNorm", attended + reduced)
        backs.append((a, b, c, d, e, f, g))
    pooled, back_pooler = tape.dense("pooler.dense", x[:, 0])
    pooled = np.tanh(pooled)
    logits, back_classifier = tape.dense("classifier", pooled)
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    loss = -np.log(shares[np.arange(len(ids)), labels]).mean()
    down = (shares - np.eye(LABELS)[labels]) / len(ids)
    on = np.zeros_like(x)
    on[:, 0] = back_pooler(back_classifier(down) * (1 - pooled**2))
    for a, b, c, d, e, f, g in reversed(backs):
        inside = g(on)
        inside = c(inside + d(e(f(inside))))
        on = inside + a(b(inside))
    on = back_embedding(on)
    for name, rows in places.items():
        np.add.at(tape.grad[f"embeddings.{name}_embeddings"], rows, on)
    return loss, logits, tape.grad


def train(steps, batch, rate=3e-3, seed=0):
    """Weights after some steps of Adam."""
    rng = np.random.default_rng(seed)
    w = fresh(rng)
    first, second = ({name: np.zeros_like(v) for name, v in w.items()} for _ in range(2))
    for t in range(1, steps + 1):
        _, _, gradients = step(w, *draw(rng, batch))
        for name, g in gradients.items():
            first[name] += 0.1 * (g - first[name])
            second[name] += 0.001 * (g * g - second[name])
            at = rate * (1 - t / steps) * sqrt(1 - 0.999**t) / (1 - 0.9**t)
            w[name] -= at * first[name] / (np.sqrt(second[name]) + 1e-8)
    return w


def tensors(w):
    """Weights as a file holds them: dense layers [out, in], names with their prefix."""
    found = {}
    for name, values in w.items():
        full = name if name.startswith("classifier") else f"bert.{name}"
        full += ".weight" if name.endswith("_embeddings") else ""
        turned = values.ndim == 2 and not name.endswith("_embeddings")
        found[full] = (values.T if turned else values).astype(np.float32)
    return found


def train_apart(path):
    """Weights trained by a process of its own with one thread: products this small are slower on two."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    subprocess.run([sys.executable, Path(__file__), path], check=True, env={**os.environ, **threads})
    with np.load(path) as found:
        return dict(found)


if __name__ == "__main__":
    np.savez(sys.argv[1], **train(steps=150, batch=32))
