"""Random mappings of four operators, scored in closed form: Figures 18 to 20."""

from __future__ import annotations

from sim.hardware import load
from sim.lower import build
from sim.mapping.sampling import NEAR, least_scores, weighted_percentile
from sim.studies.exhibit import Values

OPERATORS = {
    "ResNet-50 3x3, 512": (49, 512, 4608),
    "ResNet-50 1x1, 2048": (49, 2048, 512),
    "BERT MHA projection": (512, 768, 768),
    "BERT FFN W1": (512, 3072, 768),
}
"""Rows, columns and depth of each as a product; the 3x3 convolution with its image unrolled."""

MACHINE = "gemmini_default"
SAMPLES = 100_000
SEED = 0
PERCENT = 10


def figures_18_to_20() -> Values:
    """Return, per operator, the tenth percentile of EDP over the least, and the share in % below three times the least.

    Nothing is simulated: each mapping has the least cycles and energy that it can have (`Space.least`).
    """
    hw = load(MACHINE)
    found: dict[str, list[float | None]] = {}
    for name, sizes in OPERATORS.items():
        relative, times = least_scores(build.matmul(*sizes), hw, SAMPLES, SEED)
        found[f"{name}: 10th percentile over the least"] = [weighted_percentile(relative, times, PERCENT)]
        found[f"{name}: % below three times the least"] = [100.0 * float(times[relative < NEAR].sum() / times.sum())]
    return found
