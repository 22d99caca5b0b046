"""Errors, TOML files, whole files, version, worker processes, colours, the Pareto front. Imports no other room."""
