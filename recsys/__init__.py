"""The recommender library: datasets, preparation, models, metrics, top-n scoring, published tables.

Nothing here knows of Prefect. Stages, in the order of the night: download, read, prepare, train, evaluate,
score, publish.
"""

__version__ = "0.1.0"
