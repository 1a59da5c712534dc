"""A whole search on a small model: what it may look at, and what it writes."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from recsys import config as configuration
from recsys.download.stage import take_inputs
from recsys.errors import InputRefused, UsageError
from recsys.models.edlae import Edlae
from recsys.prepare.prepared import Prepared
from recsys.prepare.stage import prepare_inputs
from recsys.store import Store
from recsys.tune import tuning
from recsys.tune.objective import Objective
from recsys.tune.search import Limits

DAY = date(2026, 11, 21)


def write_ratings(path, change=lambda row, item, rating: (item, rating)):
    rng = np.random.default_rng(5)
    lines = ["userId,movieId,rating,timestamp"]
    for user in range(60):
        for item in np.flatnonzero(rng.random(30) < np.where(np.arange(30) % 3 == user % 3, 0.8, 0.2)):
            item_id, rating = change(len(lines) - 1, int(item), int(rng.integers(2, 5)))
            lines.append(f"{user},{item_id},{rating},{len(lines)}")
    path.write_text("\n".join(lines) + "\n")
    return path


def config_of(folder, ratings, *assignments):
    options = {"store": str(folder / "store"), "ratings": str(ratings)}
    return configuration.load(None, options, ("compute.threads=1", *assignments))


def tune(config, name="edlae", trials=4, **more):
    return tuning.tune(config, name, Limits(trials), today=DAY, **more)


def held_out_of(config, folder):
    """{(user_id, item_id)} of all ratings, and those that a night would hold out."""
    folder.mkdir()
    snapshot, holdout = take_inputs(config, Store(Path(config.store)))
    prepare_inputs(folder, snapshot, holdout, config, top_items=0, refused=folder / "refused")
    prepared = Prepared(folder)
    users, items = np.asarray(prepared.ids.user_ids), np.asarray(prepared.ids.item_ids)
    pairs = list(zip(users[np.repeat(np.arange(len(users)), np.diff(prepared.array("indptr")))].tolist(),
                     items[prepared.array("item_index")].tolist(), strict=True))  # fmt: skip
    return set(pairs), {pair for pair, away in zip(pairs, prepared.array("held_out"), strict=True) if away}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    return tune(config_of(folder, write_ratings(folder / "ratings.csv")), trials=6)


def test_the_best_settings_load_as_a_configuration(tuned):
    loaded = configuration.load(tuned.file)
    assert loaded.train.ranker == "edlae"
    assert loaded.models["edlae"] == tuned.settings
    assert tuned.settings == dict(tuned.best.chosen)
    text = tuned.file.read_text()
    assert "2026-11-21" in text
    assert f"ndcg@10 {tuned.best.figure:.4f}" in text
    assert "test part was not looked at" in text
    assert tuned.best.figure == max(trial.figure for trial in tuned.trials)


def test_the_figure_is_that_of_a_night_whose_hold_out_is_the_slice(tuned, tmp_path):
    """Oracle: the nightly evaluation of the training part alone, with its own hold-out."""
    from recsys.compare.contestant import Contestant, Terms, measure

    config = config_of(tmp_path, write_ratings(tmp_path / "ratings.csv"))
    experiment = tuning.open_experiment(config, {})
    prepared = tuning._prepare_training_part(experiment, tmp_path)
    terms = Terms(prepared.folder, tmp_path, config.evaluate, config.compute, config.seed)
    record = measure(Contestant("ranker", "edlae", tuned.best.chosen), terms)
    assert record["metrics"]["ndcg@10"]["value"] == pytest.approx(tuned.best.figure, abs=1e-12)


def test_the_test_part_is_nowhere_in_what_the_search_is_given(tmp_path, monkeypatch):
    config = config_of(tmp_path, write_ratings(tmp_path / "ratings.csv"))
    pairs, held_out = held_out_of(config, tmp_path / "night")
    given, fitted = set(), []
    fit, call = Edlae.fit.__func__, Objective.__call__

    def spy_fit(cls, training_set, *rest, **more):
        fitted.append(training_set.ratings.nnz)
        return fit(cls, training_set, *rest, **more)

    def spy_call(self, chosen):
        ids, arrays = self.prepared.ids, self.prepared
        item = arrays.array("item_index")
        user = np.repeat(np.arange(ids.n_users), np.diff(arrays.array("indptr")))
        given.update(zip(np.asarray(ids.user_ids)[user], np.asarray(ids.item_ids)[item], strict=True))
        return call(self, chosen)

    monkeypatch.setattr(Edlae, "fit", classmethod(spy_fit))
    monkeypatch.setattr(Objective, "__call__", spy_call)
    tune(config, trials=2)
    assert held_out
    assert given == pairs - held_out
    assert len(fitted) == 2
    assert max(fitted) < len(given)  # the slice is not fitted on


@pytest.mark.parametrize("split", ["per-user", "leave-last", "random"])
@pytest.mark.parametrize("name", ["edlae", "biased_mf"])
def test_other_ratings_in_the_test_part_change_nothing(tmp_path, name, split):
    """Other values there, and where the draw does not ask for it other items: all that is tried stays the same."""
    quick = (f"prepare.split={split}", "models.biased_mf.epochs=1", "models.biased_mf.embedding_size=2")
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    first = config_of(folders[0], write_ratings(folders[0] / "ratings.csv"), *quick)
    _, held_out = held_out_of(first, tmp_path / "night")
    rows = [tuple(map(int, line.split(",")[:2])) for line in (folders[0] / "ratings.csv").read_text().split()[1:]]

    def elsewhere(row, item, rating):
        if rows[row] not in held_out:
            return item, rating
        return (item if split == "per-user" else 1_000 + row), 6 - rating

    other = config_of(folders[1], write_ratings(folders[1] / "ratings.csv", elsewhere), *quick)
    found = [tune(config, name, trials=2) for config in (first, other)]
    assert found[0].key != found[1].key
    assert found[0].trials == found[1].trials


def test_what_is_given_stays_and_is_written(tmp_path):
    config = config_of(tmp_path, write_ratings(tmp_path / "ratings.csv"), "models.edlae.reg=77.5")
    found = tune(config, trials=2, out=tmp_path / "best.toml")
    assert set(found.best.chosen) == {"dropout", "user_power", "item_power"}
    assert configuration.load(tmp_path / "best.toml").models["edlae"]["reg"] == 77.5


def test_a_search_that_goes_on_is_the_same_search(tuned, tmp_path):
    config = config_of(tmp_path, write_ratings(tmp_path / "ratings.csv"))
    tune(config, trials=2)
    assert tune(config, trials=6).trials == tuned.trials


def test_other_data_or_seed_is_another_search(tuned, tmp_path):
    path = write_ratings(tmp_path / "ratings.csv")
    keys = {tuned.key}
    keys.add(tune(config_of(tmp_path, path, "seed=1"), trials=1).key)
    keys.add(tune(config_of(tmp_path, path, "prepare.split=random"), trials=1).key)
    keys.add(tune(config_of(tmp_path, path, "models.edlae.reg=1.0"), trials=1).key)
    assert len(keys) == 4


def test_what_cannot_be_tuned_is_refused(tmp_path):
    config = config_of(tmp_path, write_ratings(tmp_path / "ratings.csv"))
    with pytest.raises(UsageError, match="no setting to tune"):
        tune(config, "popular")
    with pytest.raises(UsageError, match="edlae can be tuned as ranker"):
        tune(config, "edlae", role="rater")
    with pytest.raises(UsageError, match="no model 'nobody'"):
        tune(config, "nobody")
    with pytest.raises(UsageError, match="cannot be written"):
        tune(config, out=tmp_path / "ratings.csv" / "best.toml")


def test_too_few_ratings_for_a_slice_are_refused(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text("userId,movieId,rating,timestamp\n" + "".join(f"{u},1,4,1\n{u},2,3,2\n" for u in range(5)))
    with pytest.raises(InputRefused, match="held out for validation"):
        tune(config_of(tmp_path, path))
