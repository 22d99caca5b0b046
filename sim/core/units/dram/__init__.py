"""A DRAM channel: commands of a controller to ranks of bank groups of banks, one record a channel.

`state` holds the record, the address map and the distances between commands; `controller` takes transactions and
steps the channel by the rules that its record names: `oldest_first` (one command a clock, or one each for rows and
columns), `two_step` (activation in two commands, a data clock that stops) or `bank_queues` (one queue a bank, served in
turn). `drive` runs a stream of requests alone.
Sources: JESD79-3F, JESD79-4B, JESD209-5, JESD235C for the distances; the rules of the two public controllers in
docs/MEMORY.md, held to their answers in tests/oracle/dram.
"""
