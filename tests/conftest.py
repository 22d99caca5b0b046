"""What holds for every test: no test is answered by what an earlier run of the suite has left on disk."""

from __future__ import annotations

import os

os.environ["CARAT_CACHE_MIB"] = "0"  # in the environment, so that it reaches subprocesses and workers too
