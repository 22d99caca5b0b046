"""Compiled code of the executor: what each command does to the memories, one file for each unit of the machine.

All functions take the state ``m`` (`sim.functional.state.State`), whose small parts are the records of `records`.
"""
