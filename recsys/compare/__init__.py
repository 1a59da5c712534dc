"""Several models on one split, measured alike, each in a process of its own."""
