"""Convolutions: what one is (`item`), the tile that the library picks (`tiling`), its commands (`lowering`)."""
