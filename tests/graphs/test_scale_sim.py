"""SCALE-Sim topologies as they occur in public files, and what is refused of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.base.errors import InputError
from workloads import build

CONVOLUTIONS = (
    "\ufeffLayer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\r\n"
    "Conv1, 224, 224, 7, 7, 3, 64, 2,\r\n"
    "\r\n"
    "Conv2, 56, 56, 1, 1, 64, 64, 1,\r\n"
    "Odd, 20, 30, 1, 3, 8, 16, 1, 1,\r\n"
    "FC, 7, 7, 7, 7, 512, 1000, 1,\r\n"
)


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "net.csv"
    path.write_bytes(text.encode())
    return str(path)


def test_convolutions_do_the_macs_of_their_sizes(tmp_path: Path) -> None:
    graph = build(written(tmp_path, CONVOLUTIONS))
    sizes = {op.name: (op.kind, *op.mnk) for op in graph.ops}
    assert sizes == {
        "Conv1": ("conv", 109 * 109, 64, 147),
        "Conv2": ("conv", 56 * 56, 64, 64),
        "Odd": ("matmul", 20 * 28, 16, 24),
        "FC": ("matmul", 1, 1000, 7 * 7 * 512),
    }


def test_products_and_repeated_names(tmp_path: Path) -> None:
    graph = build(written(tmp_path, "Layer,M,N,K,\nqkv,128,2304,768,\nqkv,1,2,3\n"))
    assert [(op.name, *op.mnk) for op in graph.ops] == [("qkv", 128, 2304, 768), ("qkv_3", 1, 2, 3)]


def test_titles_tabs_and_remarks_of_public_files_are_read_past(tmp_path: Path) -> None:
    text = "Layer name, IFMAP Height,,\nNet one,\na,8,8,3,3,4,4,1,#dw\n\nNet two,,,\na,8,8,3,3,4,4,1,,,6,6,36\n"
    assert [op.name for op in build(written(tmp_path, text)).ops] == ["Net one.a", "Net two.a"]
    tabs = "Layer name\tM\tN\tK\t\nproduct\t4000000\t3\t4\t\n"
    assert [op.mnk for op in build(written(tmp_path, tabs)).ops] == [(4_000_000, 3, 4)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a, 1, 2", "line 2: 2 values after the name 'a'; must be 7 sizes of a convolution"),
        ("a, 8, 8, 9, 9, 3, 4, 1", "line 2: the filter of 9x9 exceeds the image of 8x8"),
        ("a, 8, 8, 3, 3, 0, 4, 1", "line 2: channels is '0', must be a whole number from 1"),
        ("a, 8, 8, 3, 3, 3, 4, 1, 2:4", "line 2: 8 values after the name"),
        ("a, 8, 8, 3, 3, 3, 99999999999, 1", "line 2: filters is '99999999999'"),
        ("", "no layers"),
    ],
)
def test_a_wrong_line_is_refused_by_its_number(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        build(written(tmp_path, f"Layer name, IFMAP Height,\n{line}\n"))
    assert message in str(caught.value)
