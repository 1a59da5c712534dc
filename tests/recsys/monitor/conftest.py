"""Puts the folder of the tests of publishing on the path, for the module `nights`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "publish"))
