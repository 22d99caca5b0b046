"""The two ends of a decoder: the look-ups of its tokens, and the scores of all words."""

from __future__ import annotations

from sim.graph import Tensor, View
from workloads.networks.builder import Network
from workloads.networks.config import Config
from workloads.networks.decoding.step import TokenStep


def embedded(net: Network, config: Config, step: TokenStep) -> Tensor:
    """Look up words and positions; a product widens word rows narrower than the layers."""
    x = _look_up(net, "word", config.vocab, config.embedding, step)
    if config.embedding_size:
        x = net.linear(x, config.hidden, name="project_in", bias=False)
    if config.token_types:
        x = net.add(x, _look_up(net, "token_type", config.token_types, config.hidden, step), name="add_token_type")
    if config.sinusoids:
        x = net.add(x, net.input("positions", x.shape[0], x.shape[1]), name="add_position")
    if config.positions:
        x = net.add(x, _look_up(net, "position", config.positions, config.hidden, step), name="add_position")
    return net.norm(x, config.norm, name="word_norm", weights=config.norm_weights) if config.word_norm else x


def _look_up(net: Network, what: str, words: int, cols: int, step: TokenStep) -> Tensor:
    rows = step.batch * step.new
    ids = net.input(f"{what}_ids", 1, rows, "int32")
    table = net.tensor(net.name_of(f"{what}_table"), (words, cols), kind="weight")
    found = net.tensor(f"{what}_embedding", (rows, cols))
    net.op(f"embed_{what}", "embedding", [View.whole(ids), View.whole(table)], View.whole(found), None)
    return found


def scores(net: Network, config: Config, step: TokenStep, x: Tensor) -> None:
    """Add the scores of all words for the last token of each sequence."""
    cols = x.shape[-1]
    last = View(x.name, 1, step.batch, cols, step.new * cols, 0, (step.new - 1) * cols)
    if config.embedding_size:
        x = net.linear(last, config.embedding, name="project_out", bias=False)
        last = View.whole(x)
    table = next((tensor for tensor in net.tensors if tensor.name == "word_table"), None) if config.tied else None
    if table is None and config.tied:
        table = net.tensor("word_table", (config.vocab, config.embedding), kind="weight")
    of = config.vocab if table is None else table
    words = net.linear(last, of, name="head", bias=config.head_bias, wide=True)
    if config.capped:
        bounded = net.tensor(net.name_of("head_tanh"), words.shape, words.dtype)
        net.apply("tanh", bounded.name, [View.whole(words)], View.whole(bounded))
