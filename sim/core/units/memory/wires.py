"""The wires of every memory model: the offered answer, and the requests not answered yet."""

import numpy as np

NOTHING = 0
READ = 1
ACKNOWLEDGE = 2

DTYPE = np.dtype(
    [
        ("offered", "i8"),  # NOTHING, or the kind of answer on the wires: a beat of a READ, an ACKNOWLEDGE
        ("reads_out", "i8"),  # reads accepted and not answered
        ("writes_out", "i8"),  # Puts accepted whole and not acknowledged
    ]
)
