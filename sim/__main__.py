"""``python -m sim`` is the command ``carat``."""

from sim.cli import main

main()
