"""What holds for every test: no test is answered by what an earlier run of the suite has left on disk."""

from __future__ import annotations

import gc
import os

gc.set_threshold(50_000)  # not 700: most of the millions of objects of a run of tests stay until its end
os.environ["CARAT_CACHE_MIB"] = "0"  # in the environment, so that it reaches subprocesses and workers too
