"""`recsys report`: the path alone for scripts, or all in JSON."""

import json

import pytest
from typer.testing import CliRunner

from deployments.cli.app import app
from recsys.errors import UsageError
from recsys.report import find

CALLED = CliRunner()


@pytest.fixture
def page(tmp_path, monkeypatch):
    file = tmp_path / "index.html"
    file.write_text("page")
    monkeypatch.setattr(find, "find_page", lambda store, run_date: find.Page(file, str(run_date), "ab12", refused=True))
    return file


def test_the_path_and_nothing_else(page, tmp_path):
    done = CALLED.invoke(app, ["report", "--store", str(tmp_path)])
    assert (done.exit_code, done.stdout) == (0, f"{page}\n")


def test_json(page, tmp_path):
    done = CALLED.invoke(app, ["report", "--store", str(tmp_path), "--run-date", "2026-11-20", "--json"])
    wanted = {"report": str(page), "run_date": "2026-11-20", "run_id": "ab12", "refused": True, "bytes": 4}
    assert json.loads(done.stdout) == wanted


def test_no_date_and_no_store(tmp_path):
    assert isinstance(CALLED.invoke(app, ["report", "--run-date", "yesterday"]).exception, UsageError)
    assert isinstance(CALLED.invoke(app, ["report", "--store", str(tmp_path / "none")]).exception, UsageError)
