"""Which values are zero: masks drawn or measured, how they are packed, stored and expanded."""
