"""Programs of sparse and output-stationary products are those of the first, plain lowering, bit for bit."""

from __future__ import annotations

import json

import pytest
from sparsity.streams import KEPT, cases, digest

EXPECTED = json.loads(KEPT.read_text())


@pytest.mark.parametrize("case", cases())
def test_programs_are_those_of_the_plain_lowering(case: str) -> None:
    """Digests were written at commit 8cbc1c8, when the lowering was a Python loop per command."""
    assert digest(case) == EXPECTED[case]
