"""The records' protocols, by the means alone, beside pandas."""

import io
import zipfile

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.model_selection import train_test_split

from benchmarks.rating_records import Result, measure, report
from recsys.config import ComputeConfig


def frame(archive, member, delimiter):
    text = zipfile.ZipFile(archive).read(member).replace(delimiter, b",")
    return pd.read_csv(io.BytesIO(text), names=["user", "item", "rating", "time"])


def rmse_of_means(train, test):
    """Overall mean, then item means, then user means of what is left; 0 for the unknown; clipped to 1 to 5."""
    overall = train["rating"].mean()
    rest = train["rating"] - overall
    item = rest.groupby(train["item"]).mean()
    user = (rest - train["item"].map(item)).groupby(train["user"]).mean()
    predicted = overall + test["item"].map(item).fillna(0) + test["user"].map(user).fillna(0)
    return np.sqrt(np.mean((predicted.clip(1, 5) - test["rating"]) ** 2))


def test_u1_learns_from_base_and_predicts_test(mirror):
    base, test = (frame(mirror / "ml-100k.zip", f"ml-100k/u1.{part}", b"\t") for part in ("base", "test"))
    (result,) = measure(str(mirror), "ml-100k u1", ["means"], [0, 1], ComputeConfig(threads=1))
    assert_allclose(result.rmse, [rmse_of_means(base, test)] * 2, rtol=1e-6)


def test_ml_1m_is_split_as_scikit_learn_does(mirror):
    if not (mirror / "ml-1m.zip").exists():
        pytest.skip(f"no ml-1m.zip in {mirror}")
    rows = frame(mirror / "ml-1m.zip", "ml-1m/ratings.dat", b"::")
    (result,) = measure(str(mirror), "ml-1m 90/10", ["means"], [3], ComputeConfig(threads=1))
    assert_allclose(result.rmse, [rmse_of_means(*train_test_split(rows, test_size=0.1, random_state=3))], rtol=1e-6)


def test_the_report_orders_ours_and_the_published_by_error():
    ours = [Result("ml-1m 90/10", name, (0, 1), rmse, (9.0, 11.0), 512.0) for name, rmse in
            {"good": (0.81, 0.83), "bad": (0.9, 0.9)}.items()]  # fmt: skip
    lines = report(ours).splitlines()
    assert "**good 0.8200 +- 0.0141 (seeds (0, 1): 0.8100 0.8300); 10 s a fit, peak 512 MiB**" in lines[2]
    assert "GLocal-K" in lines[3]
    assert lines[-1].startswith("| **bad 0.9000")
    assert len(lines) == 2 + 2 + 6


def test_one_seed_has_no_spread():
    assert "+-" not in str(Result("ml-100k u1", "means", (0,), (0.95,), (0.1,), 100.0))
