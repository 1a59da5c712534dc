"""The gate: whether a night's tables may take the place of those that readers have."""
