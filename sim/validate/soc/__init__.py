"""Tables measured on a whole machine with its CPU: their formats and programs."""
