"""Whole numbers in a machine's file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

MAX_COUNT = 2**31 - 1
"""Largest count: products in the timing core stay within 64 bits."""

Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
