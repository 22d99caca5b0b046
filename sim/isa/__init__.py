"""The second door, what a program is: codes and fields of Gemmini's commands, and their disassembly."""
