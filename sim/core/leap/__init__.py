"""What the leaping clock leaves out: bursts of read beats and runs of rows, each computed as one event."""
