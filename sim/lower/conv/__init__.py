"""Convolutions: the work item (`item`), the library's tile (`tiling`), the commands (`lowering`)."""
