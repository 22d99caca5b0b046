"""The base of every table that a user writes: of machines, of sparsity schemes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """A frozen table that refuses unknown keys and silent conversions ("16" is not 16).

    Its validator is built at its first use: most tables are only read as parts of others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True, defer_build=True)
