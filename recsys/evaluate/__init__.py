"""Metrics with intervals, computed on tables in the published format, and the gate that reads them."""
