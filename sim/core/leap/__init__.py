"""Shortcuts of the leaping clock: bursts of read beats and runs of rows, each computed as one event."""
