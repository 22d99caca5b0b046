"""The hardware units, one file or folder each: a plain-data record and the unit's behaviour in one cycle."""
