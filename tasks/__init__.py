"""Prefect tasks: each logs, calls one function of the library and returns a handle."""
