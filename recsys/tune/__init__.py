"""A search for good settings of one model, on a validation slice; the test part is left alone."""
