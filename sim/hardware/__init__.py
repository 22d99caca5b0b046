"""Hardware description: a TOML file, a machine's name or a table row goes in, a frozen `Hardware` comes out.

Knows nothing of workloads, programs or timing. Names are those of the TOML files of ``hwconfigs`` (presets) and of
``hwconfigs/published``.
"""

from sim.hardware.loading import load, parse_settings, presets, published
from sim.hardware.machine import Hardware

__all__ = ["Hardware", "load", "parse_settings", "presets", "published"]
