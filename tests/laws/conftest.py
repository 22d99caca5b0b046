"""The profile of the property tests."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("CARAT_EXAMPLES", "100"))
"""Examples per property; `make test-long` asks for thousands, drawn afresh each time."""

# Never a deadline: a property must not depend on how fast this computer is today.
settings.register_profile(
    "ci",
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="CARAT_EXAMPLES" not in os.environ,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
settings.load_profile("ci")
