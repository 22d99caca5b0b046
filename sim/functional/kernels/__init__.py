"""Compiled code of the executor: the effect of each command on the memories, one file per unit of the machine.

All functions take the state ``m`` (`sim.functional.state.State`), whose small parts are the records of `records`.
"""
