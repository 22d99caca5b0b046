"""The one name to import: the front door of `sim`, and the packages `sim`, `workloads`, `reports` and `hwconfigs`.

``carat.simulate``, ``carat.sweep``, ``carat.Graph`` and all other names of `sim` are the same objects as there;
``carat.workloads``, ``carat.reports`` and ``carat.hwconfigs`` are those packages. All of them load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import sim

if TYPE_CHECKING:
    import hwconfigs as hwconfigs
    import reports as reports
    import workloads as workloads
    from sim import *  # noqa: F403

PACKAGES = ("sim", "workloads", "reports", "hwconfigs")

__all__ = [*sim.__all__, *PACKAGES]


def __getattr__(name: str) -> Any:
    if name in PACKAGES:
        return import_module(name)
    if name in sim.__all__:
        return getattr(sim, name)
    raise AttributeError(f"module 'carat' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
