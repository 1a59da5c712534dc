"""Which page a person is led to."""

from datetime import date, timedelta

import nights
import pytest

from recsys.errors import GateRefused, UsageError
from recsys.publish.stage import publish
from recsys.report.find import find_page
from recsys.report.stage import report

TONIGHT = nights.NIGHT


def published(store, night=TONIGHT, **given):
    run = nights.score_run(nights.make_run(store, night=night, **given))
    report(run)
    publish(run)
    return run


def refused(store, night):
    config = nights.config_of(gate={"min_ndcg": 0.999, "on_rejected": "refuse"})
    with pytest.raises(GateRefused):
        published(store, night, config=config)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    published(store, TONIGHT - timedelta(days=1))
    published(store)
    refused(store, TONIGHT)
    refused(store, TONIGHT + timedelta(days=1))
    return store


@pytest.mark.parametrize(("asked", "night"), [(None, TONIGHT), (TONIGHT, TONIGHT), (TONIGHT - timedelta(days=1),) * 2])
def test_the_published_run_or_that_of_the_date(store, asked, night):
    page = find_page(store, asked)
    assert page.file.name == "index.html"
    assert (page.run_date, page.refused) == (night.isoformat(), False)
    assert page.run_id in str(page.file)
    assert f"Run <code>{page.run_id}</code>" in page.file.read_text()


def test_of_a_date_with_only_a_refused_run_that_ones(store):
    page = find_page(store, TONIGHT + timedelta(days=1))
    assert page.refused
    assert "REJECTED" in page.file.read_text()


def test_there_is_none(store, tmp_path):
    with pytest.raises(UsageError, match="No run of 1999-01-01 is complete"):
        find_page(store, date(1999, 1, 1))
    with pytest.raises(UsageError, match="Nothing is published"):
        find_page(tmp_path)


def test_a_run_of_an_earlier_version_has_none(tmp_path):
    nights.publish_night(tmp_path)
    with pytest.raises(UsageError, match="has no page"):
        find_page(tmp_path)
