"""What the periodic clock does not simulate again: states in normal form, and the steps between them."""
