"""Post-training quantisation: from a float model and sequences of tokens to integers that a machine multiplies."""

from sim.functional.quantization.recipe import PLAIN, Recipe
from sim.functional.quantization.statistics import Statistics

__all__ = ["PLAIN", "Recipe", "Statistics"]
