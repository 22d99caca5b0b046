"""The hardware units, one file or folder each: a plain-data record and what the unit does in one cycle."""
