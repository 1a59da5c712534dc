"""Puts this folder and that of the tests of publishing on the path, for `pages` and `nights`; a hostile run's page."""

import sys
from pathlib import Path

import pytest

for folder in (Path(__file__).parent, Path(__file__).parents[1] / "publish"):
    sys.path.insert(0, str(folder))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    """A run, and its page."""
    from pages import hostile_run, past_nights

    from recsys.report.stage import report

    store = tmp_path_factory.mktemp("hostile")
    run = hostile_run(store)
    past_nights(store, run.run_date, run.snapshot.dataset, 5)
    return run, report(run)
