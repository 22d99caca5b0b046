"""Hardware description: a TOML file, a preset's name or a table row goes in, a frozen `Hardware` comes out.

Knows nothing of workloads, programs or timing. Presets are the TOML files of ``hwconfigs``.
"""

from sim.hardware.loading import load, parse_settings, presets
from sim.hardware.machine import Hardware
from sim.hardware.rows import from_row

__all__ = ["Hardware", "from_row", "load", "parse_settings", "presets"]
