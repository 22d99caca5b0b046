"""Oracle: the printed figures of Kim et al. 2023 (2302.14017), counted from our graphs by their rule."""

from __future__ import annotations

import pytest

from sim.base.errors import InputError
from sim.graph import Graph, Op, Tensor, View
from workloads import bert_base, bert_large, encoder_layer
from workloads.analysis import GROUPS, WorkCount, analyse

LENGTHS = (128, 256, 512, 1024, 2048, 4096)

# Table 3 and Table 10 as printed: e9 FLOPs, e9 bytes, FLOPs per byte.
TABLE_3: dict[int, dict[str, tuple[str, str | None, str]]] = {
    128: {
        "mha_projections": ("7.25", "0.04", "192.00"),
        "act_to_act": ("0.60", None, "63.62"),
        "ffn": ("14.50", "0.07", "211.86"),
        "other": ("0.08", "0.02", "3.14"),
        "total": ("22.42", "0.14", "159.68"),
    },
    512: {
        "mha_projections": ("28.99", "0.07", "438.86"),
        "act_to_act": ("9.62", "0.09", "101.95"),
        "ffn": ("57.98", "0.10", "558.54"),
        "other": ("0.42", "0.16", "2.73"),
        "total": ("97.02", "0.42", "231.0"),
    },
    4096: {
        "mha_projections": ("231.93", "0.33", "702.17"),
        "act_to_act": ("616.02", "4.98", "123.63"),
        "ffn": ("463.86", "0.43", "1068.52"),
        "other": ("11.85", "5.47", "2.16"),
        "total": ("1323.66", "11.22", "117.96"),
    },
}
# Left out: act-to-act at 128 is printed as 0.006e9 bytes; 0.60e9 FLOPs at 63.62 make it 0.0094e9.

SHARES_OF_FLOPS = {128: (32, 3, 65, 0.3), 512: (30, 10, 60, 0.4), 4096: (18, 46, 35, 1)}
SHARES_OF_BYTES = {128: (27, 7, 49, 18), 512: (16, None, 25, 37), 4096: (3, 44, 4, 49)}
# Left out: 20 % for act-to-act at 512, which leaves 2 % unassigned (22 %).

FOUR_HEADS = {
    128: ("95.69", "22.42", "0.13", "167.14"),
    512: ("219.04", "96.94", "0.32", "303.59"),
    4096: ("350.61", "1318.83", "4.78", "276.00"),
}


def assert_printed(value: float, text: str) -> None:
    """Assert that ``value`` is ``text`` to its last printed digit: rounded or cut off."""
    digits = len(text.partition(".")[2])
    unit = 10.0**-digits
    assert -0.5 * unit <= value - float(text) + 1e-9 and value - float(text) < unit, (value, text)


@pytest.mark.parametrize("seq", TABLE_3)
@pytest.mark.parametrize("name", [*GROUPS, "total"])
def test_bert_base_is_table_3(seq: int, name: str) -> None:
    flops, size, intensity = TABLE_3[seq][name]
    count = analyse(bert_base(seq))[name]
    assert_printed(count.flops / 1e9, flops)
    if size is not None:
        assert_printed(count.bytes / 1e9, size)
    assert_printed(count.intensity, intensity)


@pytest.mark.parametrize("seq", SHARES_OF_FLOPS)
def test_shares_are_those_of_table_3(seq: int) -> None:
    counts = analyse(bert_base(seq))
    for name, flops, size in zip(GROUPS, SHARES_OF_FLOPS[seq], SHARES_OF_BYTES[seq], strict=True):
        assert_printed(100 * counts[name].flops / counts["total"].flops, str(flops))
        if size is not None:
            assert_printed(100 * counts[name].bytes / counts["total"].bytes, str(size))


@pytest.mark.parametrize("seq", FOUR_HEADS)
def test_bert_base_with_four_heads_is_table_10(seq: int) -> None:
    counts = analyse(encoder_layer(seq, heads=4, layers=12))
    attention, flops, size, intensity = FOUR_HEADS[seq]
    assert_printed(counts["act_to_act"].intensity, attention)
    assert_printed(counts["total"].flops / 1e9, flops)
    assert_printed(counts["total"].bytes / 1e9, size)
    assert_printed(counts["total"].intensity, intensity)


def test_bert_base_is_figures_4_to_6() -> None:
    totals = [analyse(bert_base(seq))["total"] for seq in LENGTHS]
    assert [round(t.flops / 1e9) for t in totals] == [22, 46, 97, 214, 505, 1324]
    assert [round(t.bytes / 1e9, 1) for t in totals] == [0.1, 0.2, 0.4, 1.1, 3.2, 11.2]
    for total, printed in zip(totals, ("160", "215", "231", "202", "156", "117"), strict=True):
        assert_printed(total.intensity, printed)


def test_bert_large_is_figures_4_to_6_less_one_projection() -> None:
    # Known deviation, asserted to hold: the paper lacks one hidden x hidden product per layer.
    layers, hidden = 24, 1024
    totals = {seq: analyse(bert_large(seq))["total"] for seq in LENGTHS}
    counted = [totals[seq].flops - layers * 2 * seq * hidden**2 for seq in LENGTHS]
    assert [round(flops / 1e9) for flops in counted] == [73, 149, 310, 673, 1554, 3942]
    for total, printed in zip(totals.values(), ("0.4", "0.6", "1.2", "2.9", "8.7", "29.9"), strict=True):
        assert_printed(total.bytes / 1e9, printed)
    # With that product's weights left out of the bytes as well, intensities are Figure 6's within 1.
    sizes = [total.bytes - layers * hidden**2 for total in totals.values()]
    intensities = [flops / size for flops, size in zip(counted, sizes, strict=True)]
    assert intensities == pytest.approx([171, 239, 266, 235, 179, 131], abs=1.0)


def test_flops_are_two_per_mac_up_to_the_last_addition() -> None:
    # Law: act-to-act lacks one addition per output; everything else of a matmul is 2 per MAC.
    graph = bert_base(64)
    counts = analyse(graph)
    outputs = sum(op.output.elements for op in graph.ops if op.name.split(".")[1] in ("scores", "context"))
    matmuls = counts["mha_projections"].flops + counts["act_to_act"].flops + counts["ffn"].flops
    assert matmuls == 2 * graph.macs - outputs


def test_a_batch_reads_weights_once() -> None:
    # Law: everything doubles with the batch but the weights, which are read once.
    one, two = (analyse(bert_base(64, batch=batch))["total"] for batch in (1, 2))
    layers, hidden = 12, 768
    assert two.flops == 2 * one.flops
    assert two.bytes == 2 * one.bytes - layers * (12 * hidden**2 + 4 * hidden)


def test_shared_operands_are_read_once() -> None:
    # One B for all of a batch, as in a graph written by hand: batch * (M*K + M*N) + K*N bytes.
    batch, m, n, k = 3, 4, 5, 6
    tensors = [
        Tensor("a", (batch, m, k), "int8", "input"),
        Tensor("b", (k, n), "int8", "weight"),
        Tensor("c", (batch, m, n), "int8", "activation"),
    ]
    a, b, c = map(View.whole, tensors)
    graph = Graph.from_ops("g", tensors, [Op("mm", "matmul", (a, b), c)])
    assert analyse(graph)["total"] == WorkCount(2 * batch * m * n * k, batch * (m * k + m * n) + k * n)


def test_what_the_paper_does_not_count_is_refused() -> None:
    with pytest.raises(InputError, match="embed_word is embedding"):
        analyse(bert_base(embeddings=True))
