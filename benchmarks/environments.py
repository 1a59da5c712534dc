"""A virtual environment for each system measured beside this one, made when first asked for, from pinned versions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

from recsys.store import write_whole

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "peers"
GROUP = "peer-"  # of pyproject.toml's dependency groups; the rest of a group's name is the environment's


class NoEnvironment(Exception):
    """It cannot be made, and why: no network, or nothing for this Python."""


def python_of(name: str, *, beside: bool = False, bare: tuple[str, ...] = (), folder: Path = FOLDER) -> Path:
    """The Python of an environment with the versions that the group `peer-<name>` pins; made where there is none.

    Args:
        beside: this project's own packages can be imported there too, for comparisons in one process.
        bare: more packages, without what they ask for: what is there has to do.

    Raises:
        NoEnvironment: it cannot be made.
    """
    home = folder / (f"{name}-beside" if beside else name)
    python, stamp = home / "bin" / "python", home / "asked.json"
    asked = json.dumps([pins(name), *bare, sys.version])
    if not (stamp.exists() and stamp.read_text() == asked):
        print(f"making {home} with {', '.join(pins(name))}", file=sys.stderr, flush=True)
        shutil.rmtree(home, ignore_errors=True)
        _call([sys.executable, "-m", "venv", str(home)])
        if beside:
            packages = _call([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip()
            (Path(packages) / "beside.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _call([*pip, *pins(name)])
        if bare:
            _call([*pip, "--no-deps", *bare])
        write_whole(stamp, asked)
    return python


def pins(name: str) -> list[str]:
    """What the group `peer-<name>` asks for."""
    return list(tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"][GROUP + name])


def _call(command: list[str]) -> str:
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(command, env=kept, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise NoEnvironment(next((line for line in lines if line.startswith("ERROR")), lines[-1])[:300])
    return done.stdout
