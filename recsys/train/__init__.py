"""Fitting: once on the training part to be judged, once more on all ratings to be published."""
