"""Shares of tokens and heads learnt per layer, as a table gives them."""

from __future__ import annotations

import pytest

from sim.base.errors import InputError
from sim.sparsity.edits import cascade
from sim.sparsity.table import read
from workloads import encoder_layer

SIZES = {"seq": 32, "hidden": 64, "heads": 2, "ffn": 128}


def test_tokens_learnt_per_layer_are_those_that_enter_it() -> None:
    # Oracle: the linear cascade with the same shares. The nearest table of the refusal is accepted.
    graph = encoder_layer(**SIZES, layers=3)
    learnt = cascade.from_table(read(cascade.CascadeTable, {"tokens_by_layer": "1, 0.75, 0.5"}))
    assert cascade.edit(graph, learnt).ops == cascade.edit(graph, cascade.Cascade(tokens=0.5)).ops
    uneven = cascade.from_table(read(cascade.CascadeTable, {"tokens_by_layer": "1, 1, 0.25"}))
    rows = [cascade.edit(graph, uneven).op(f"L{i}.scores").output.rows for i in range(3)]
    assert rows == [SIZES["seq"], SIZES["seq"], SIZES["seq"] // 4]
    short = cascade.from_table(read(cascade.CascadeTable, {"tokens_by_layer": "1, 0.5"}))
    with pytest.raises(InputError, match=r'has 2 shares, the network 3 layers \(nearest: "1, 0.5, 0.5"\)'):
        cascade.edit(graph, short)
    for wrong in ("1, 0.5, 0.75", "1, no", "2"):
        with pytest.raises(InputError, match="none larger than the one before"):
            read(cascade.CascadeTable, {"tokens_by_layer": wrong})
    with pytest.raises(InputError, match="exclude each other"):
        read(cascade.CascadeTable, {"tokens_by_layer": "1, 1, 1", "tokens": 0.5})
