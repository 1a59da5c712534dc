"""What the machine does to a night: homes that cannot be written to, full disks, signals; and how it is told."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psutil
import pytest
import typer

from deployments.cli import console as terminal
from deployments.cli.app import app
from recsys.config import RunConfig
from recsys.download.stage import open_run
from recsys.prepare.stage import prepare

RECSYS = Path(sys.executable).with_name("recsys")
SMALL = ("--set", "demo.users=300", "--set", "demo.items=200", "--set", "demo.ratings=9000", "--rater", "means")
EVIL = "a\x1b[31m\x07b\rc\nd\x9b1m"
SHOWN = r"a\x1b[31m\x07b\x0dc\x0ad\x9b1m"


@pytest.fixture(params=["missing", pytest.param("read-only", marks=pytest.mark.slow)])
def bad_home(request, tmp_path) -> Iterator[Path]:
    """A HOME that cannot be written to, by root neither."""
    if request.param == "missing":
        yield Path("/nonexistent")
        return
    home = tmp_path / "home"
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(home)]
    if os.geteuid() != 0:
        home.chmod(0o500)
    elif subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("root may write everywhere here, and nothing can be mounted")
    yield home
    if os.geteuid() == 0:
        subprocess.run(["umount", str(home)], check=True)


def test_a_home_that_cannot_be_written_to(bad_home, no_server_env, tmp_path) -> None:
    env = {key: value for key, value in no_server_env.items() if not key.startswith(("PREFECT_", "KERAS_"))}
    done = subprocess.run(
        [str(RECSYS), "run", "--store", str(tmp_path / "store"), *SMALL],
        env=env | {"HOME": str(bad_home)}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "prefect" not in done.stderr.lower()
    assert "Warning" not in done.stderr
    assert not Path("/nonexistent").exists()


@pytest.mark.slow
def test_the_temporary_database_goes_with_the_run(no_server_env, tmp_path) -> None:
    env = no_server_env | {"PREFECT_HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}
    command = [str(RECSYS), "run", "--store", str(tmp_path / "store"), *SMALL]
    for _ in range(2):
        subprocess.run(command, env=env, capture_output=True, timeout=240, check=True)
    assert [path.name.startswith("recsys-empty-") for path in (tmp_path / "home").glob("*.db*")] == [True]
    assert not list(tmp_path.glob("recsys-prefect-*"))


@pytest.fixture
def small_disk(request, tmp_path) -> Iterator[Path]:
    """A real file system of so many KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={request.param}k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("small_disk", [120, 400, 900], indirect=True)
def test_a_full_disk_is_one_message(small_disk, cli) -> None:
    refused = cli("run", "--store", small_disk / "store", *SMALL, "--json", code=2)
    assert "No space left on device" in refused.err
    assert "Traceback" not in refused.err
    assert "to do:" in refused.err
    assert refused.json["status"] == "refused"
    assert not (small_disk / "store" / "published").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("run", "--dataset", "ml-2m"), 2),
        (("run", "--top-n", "many"), 2),
        (("run", "--nonsense"), 2),
        (("run", "--ranker", "nobody"), 2),
        (("run", "--ratings", "/nowhere.csv"), 5),
        (("runs", "list", "--store", "/nowhere"), 2),
    ],
)
def test_who_asked_for_json_is_refused_in_json(arguments, code, cli, tmp_path) -> None:
    refused = cli(*arguments, "--json", code=code, env={"RECSYS_STORE": str(tmp_path)})
    assert (refused.json["status"], refused.json["exit_code"]) == ("refused", code)
    assert set(refused.json) == {"status", "exit_code", "what", "expected", "found", "todo"}
    assert refused.json["what"] in " ".join(re.sub(r"[│╭╮╰╯─]", " ", refused.err).split())


def test_a_held_store_is_told_before_prefect_starts(no_server_env, tmp_path) -> None:
    holder = "import sys, time; from pathlib import Path; from recsys.store import Store\n"
    holder += "with Store(Path(sys.argv[1])).hold(): print('held', flush=True); time.sleep(60)"
    env = no_server_env | {"PREFECT_HOME": str(tmp_path / "home")}
    with subprocess.Popen([sys.executable, "-c", holder, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        command = [str(RECSYS), "run", "--store", str(tmp_path), *SMALL]
        refused = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
        process.kill()
    assert refused.returncode == 6
    assert refused.stderr.startswith("error: Another run holds the store")
    assert f"process {process.pid}" in refused.stderr
    assert not (tmp_path / "home").exists()  # Prefect makes it as soon as it is imported


def test_sigterm_ends_a_run_as_ctrl_c_does(no_server_env, tmp_path) -> None:
    long = ("--set", "models.biased_mf.epochs=100000", "--set", "models.biased_mf.patience=100000")
    env = no_server_env | {"TMPDIR": str(tmp_path)}
    command = [str(RECSYS), "run", "--store", str(tmp_path / "store"), *SMALL[:-2], *long]
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    while not any((tmp_path / "store").glob("**/under-way/judged-rater.*.partial")):
        assert process.poll() is None
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 143
    assert told.count("stopped by SIGTERM") == 1
    assert told.splitlines()[-1].startswith("error: stopped by SIGTERM")
    assert "Traceback" not in told
    assert children
    assert not [child for child in children if child.is_running()]
    assert not list(tmp_path.glob("recsys-prefect-*"))
    command = [str(RECSYS), "run", "--store", str(tmp_path / "store"), *SMALL]
    subprocess.run(command, env=env, capture_output=True, timeout=240, check=True)  # nothing holds the store


def test_control_characters_do_not_reach_the_terminal(capsys) -> None:
    terminal.table("titles", ("id", "title"), [(1, EVIL)])
    assert SHOWN in capsys.readouterr().out
    assert terminal.visible(EVIL) == SHOWN
    assert terminal.visible_lines("one\ntwo\x1b") == "one\ntwo\\x1b"
    assert terminal.visible("Ольга\u202e 李雷 שלום 👩\u200d👧") == "Ольга\\u202e 李雷 שלום 👩\u200d👧"
    record = logging.LogRecord("recsys", logging.INFO, "", 0, "title %s", (EVIL,), None)
    with terminal.console.capture() as lines:
        terminal._Lines().emit(record)
        terminal.error(f"found {EVIL}")
    assert "\x1b[31m\x07" not in lines.get()
    assert "\x07" not in lines.get()
    assert SHOWN in lines.get()
    terminal.result({"title": EVIL})
    assert json.loads(capsys.readouterr().out) == {"title": EVIL}


@pytest.mark.parametrize(("top_items", "told"), [(None, 1), (100, 0)])
def test_fewer_items_for_want_of_memory_are_told(top_items, told, tmp_path, caplog) -> None:
    demo = {"users": 300, "items": 600, "ratings": 20_000}
    sections = {"demo": demo, "compute": {"memory_mib": 1}, "prepare": {"top_items": top_items}}
    counts = prepare(open_run(RunConfig.model_validate({"store": str(tmp_path), **sections}), date(2026, 1, 31)))
    assert counts.items_kept < counts.items
    lines = [record.getMessage() for record in caplog.records if "compute.memory_mib=1;" in record.getMessage()]
    assert len(lines) == told
    assert all(f"only the {counts.items_kept} most rated of {counts.items} items" in line for line in lines)


def _commands(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*path, name))


def test_no_help_text_is_lost_to_markup(capsys) -> None:
    root = typer.main.get_command(app)
    for path, command in _commands(root):
        with pytest.raises(SystemExit):
            root(args=[*path, "--help"], prog_name="recsys")
        shown = re.sub(r"\s", "", re.sub(r"[│╭╮╰╯─…]", "", capsys.readouterr().out))
        for param in command.params:  # type: ignore[attr-defined]
            for word in (getattr(param, "help", None) or "").replace("`", "").split():
                assert word in shown, (path, param.name, word)
