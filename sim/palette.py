"""One colour per cause, in every picture, page, table and terminal of Carat. Plain data."""

CAUSE_COLORS: dict[str, str] = {
    "compute": "#0072B2",
    "bank_conflict": "#D55E00",
    "load_wait": "#E69F00",
    "store_wait": "#F0E442",
    "normalize": "#CC79A7",
    "dependency": "#56B4E9",
    "queue_full": "#009E73",
    "fill_drain": "#C4C4C4",
    "issue": "#3C3C3C",
    "host": "#6B3A1B",
}
"""Okabe and Ito's colour-blind safe palette, two greys, a brown; a test holds every pair apart for three kinds of
colour blindness."""
