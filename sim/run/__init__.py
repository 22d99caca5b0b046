"""A run: graph -> plan -> programs -> timings -> counters and energy -> Result, with the definition of every column."""
