"""The console script `recsys`."""
