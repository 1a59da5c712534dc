"""Makes the independent checker and readers of this folder available to its tests as fixtures.

Under --import-mode=importlib siblings cannot import each other, so both modules are loaded here by their paths.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


def _load(name: str) -> ModuleType:
    qualified = f"acceptance_{name}"
    if qualified not in sys.modules:
        spec = importlib.util.spec_from_file_location(qualified, Path(__file__).with_name(f"{name}.py"))
        if spec is None or spec.loader is None:
            raise ImportError(f"cannot load {name}.py beside {__file__}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[qualified] = module  # dataclasses look their own module up there
        spec.loader.exec_module(module)
    return sys.modules[qualified]


@pytest.fixture(scope="session")
def contract_checker() -> ModuleType:
    """The module contract_checker: RULES, SPELLINGS, check_published."""
    return _load("contract_checker")


@pytest.fixture(scope="session")
def check_published(contract_checker: ModuleType) -> Callable[..., list[str]]:
    """check_published(store, ratings, n=10, seen_extra=None) -> violations in words."""
    check: Callable[..., list[str]] = contract_checker.check_published
    return check


@pytest.fixture(scope="session")
def readers() -> ModuleType:
    """The module readers: MovieLens archives as frames, ndcg_at_10 and rmse."""
    return _load("readers")
