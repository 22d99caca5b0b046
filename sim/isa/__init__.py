"""Programs, the second door: codes and fields of Gemmini's commands, and their disassembly."""
