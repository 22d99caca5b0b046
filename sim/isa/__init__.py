"""Programs: codes and fields of Gemmini's commands, and their disassembly."""
