"""One page a night: an HTML file of its own, with its script inside, that needs no network."""
