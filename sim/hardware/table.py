"""The base of every table of a hardware file."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MOST = 2**31 - 1
"""Largest count: products in the timing core stay within 64 bits."""

Count = Annotated[int, Field(ge=1, le=MOST)]


class Table(BaseModel):
    """A frozen table that refuses unknown keys and silent conversions ("16" is not 16).

    Its validator is built at its first use: most tables are only read as parts of a machine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True, defer_build=True)
