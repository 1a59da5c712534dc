"""What the README tells people to type works, in the order it stands there."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def shop(tmp_path_factory, cli) -> Path:
    """A working folder with the examples and a published night on demo, as after `make run`."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "examples", folder / "examples")
    cli("run", "--store", folder / "store", "--run-date", "2026-11-20")
    return folder


def test_make_targets_run_what_they_say() -> None:
    for target in ("run", "test", "check", "fix", "test-slow", "bench", "bench-large", "reproduce", "gallery", "setup"):
        done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert {command for command in COMMANDS if command.startswith("make")} == {"make run", "make test"}


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("recsys")])
def test_command(command, shop, recsys, request) -> None:
    env = {}
    if "--dataset ml-" in command:
        # Its own store: the shop's holds a larger published night on purpose of the volume check.
        env |= {"RECSYS_MIRROR": str(request.getfixturevalue("mirror")), "RECSYS_STORE": "./ml-store"}
    if "--config" in command:
        env |= {"RECSYS_STORE": "./config-store"}
    words = [_run_id(shop) if word == "RUN" else word for word in shlex.split(command)]
    done = recsys.call(*words[1:], env=env, cwd=shop)
    assert done.code == 0, done.err
    assert done.out or "is published" in done.err


@pytest.mark.parametrize("snippet", blocks("python"))
def test_snippet_reads_the_published_table(snippet, shop, server_env) -> None:
    library = re.search(r"(?:import|from) (\w+)", snippet).group(1)  # type: ignore[union-attr]
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed: it is no dependency, and 400 MB")
    code = snippet + "\nprint(lists.count() if 'pyspark' in str(type(lists)) else len(lists))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=shop, env=server_env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) in (10, 999, 20_000)


def test_toml_example_is_a_configuration(tmp_path) -> None:
    from recsys import config

    for place, block in enumerate(blocks("toml")):
        assert tomllib.loads(block)
        file = tmp_path / f"{place}.toml"
        file.write_text(block)
        loaded = config.load(file)
        assert loaded.score.top_n == 20
        assert loaded.gate.rater_beats_means is False
        assert loaded.models["weighted_edlae"]["reg"] == 500.0


def test_every_command_has_help_with_an_example(cli) -> None:
    commands = [
        "run",
        "datasets",
        "download",
        "models",
        "compare",
        "tune",
        "deploy",
        "path",
        "predict",
        "recommend",
        "similar",
        "runs list",
        "runs show",
        "runs verify",
        "runs rollback",
        "runs promote",
        "runs pin",
        "runs unpin",
        "runs prune",
        "backfill",
        "show user",
        "show item",
    ]
    for command in commands:
        told = cli(*command.split(), "--help").out
        assert "Example" in told, command
        assert f"recsys {command}" in told, command


def _run_id(shop: Path) -> str:
    return next((shop / "store" / "runs").glob("*/*")).name.removeprefix("run_id=")
