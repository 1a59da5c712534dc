"""What a worker does before a run."""

from __future__ import annotations

import os
from pathlib import Path

import flows


def change_to_code() -> dict[str, str]:
    """Go to the folder that holds the installed code: another on each machine, so it is looked up where a run begins.

    Returns:
        `directory`, as Prefect's own steps name it.
    """
    folder = Path(flows.__file__).resolve().parents[1]
    os.chdir(folder)
    return {"directory": str(folder)}
