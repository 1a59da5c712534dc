"""A command waits only for the libraries that it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"numba", "numpy", "pandas", "prefect", "pyarrow", "scipy", "tensorflow"}  # half a second to five each
ASK = """
import sys
from deployments.cli.app import main
try:
    main()
finally:
    print("imported:", *sorted(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "command", [("runs", "list"), ("runs", "list", "--json"), ("runs", "--help"), ("run", "--help")]
)
def test_what_computes_nothing_imports_little(command, tmp_path) -> None:
    store = () if "--help" in command else ("--store", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", ASK, *command, *store], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert HEAVY & set(done.stderr.split("imported:")[1].split()) == set()
