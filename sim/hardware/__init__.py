"""Hardware description: from a TOML file or a machine's name to a frozen `Hardware`.

It imports no workload, program or timing. Names are those of the TOML files of ``hwconfigs`` (presets) and of
``hwconfigs/published``.
"""

from sim.hardware.loading import load, parse_settings, presets, published
from sim.hardware.machine import Hardware

__all__ = ["Hardware", "load", "parse_settings", "presets", "published"]
