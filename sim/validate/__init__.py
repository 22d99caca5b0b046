"""Validation against the RTL: measured tables are read, every row is simulated, its error is stated.

Reading order: tables (rows), recordings (command streams), cases (row -> what to simulate), runner (do it),
statistics (errors by group), timelines (command by command), render (text, Markdown, JSON), cli.
"""
