"""What has been simulated once is not simulated again: within a run (`Memo`), and between runs (`Timings` on disk)."""

from sim.cache.disk import Timings, default_timings
from sim.cache.items import PAGE_BYTES, alike
from sim.cache.memo import Memo

__all__ = ["PAGE_BYTES", "Memo", "Timings", "alike", "default_timings"]
