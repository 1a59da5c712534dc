"""Puts this folder on the path, so that the shared contract is a module with pytest's rewritten assertions."""

import sys
from pathlib import Path

import pytest

pytest.register_assert_rewrite("model_contract")
sys.path.insert(0, str(Path(__file__).parent))
