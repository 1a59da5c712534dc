"""The gate's verdicts, each with its reasons."""

import pytest

from recsys.config import GateConfig
from recsys.evaluate.gate import PROMOTED, REJECTED, judge


def evaluation(ndcg=0.4, rmse=0.9, ranker="edlae", rater="biased_mf", held_out=True):
    def figures(**values):
        return {name.replace("_at_", "@"): {"value": value} for name, value in values.items() if held_out}

    return {
        "ranker": ranker,
        "rater": rater,
        "metrics": figures(ndcg_at_10=ndcg, rmse=rmse) | {"coverage@10": {"value": 0.5}},
        "baselines": {"popular": figures(ndcg_at_10=0.2), "means": figures(rmse=0.95)},
    }


def test_better_than_both_baselines_is_promoted():
    verdict = judge(evaluation(), GateConfig())
    assert (verdict.verdict, verdict.promoted) == (PROMOTED, True)
    assert verdict.reasons == (
        "ndcg@10 of edlae 0.4000 is better than popular's 0.2000",
        "rmse of biased_mf 0.9000 is better than means's 0.9500",
    )


@pytest.mark.parametrize(
    ("figures", "wrong"),
    [
        ({"ndcg": 0.1}, [0]),
        ({"ndcg": 0.2}, [0]),  # equal is not better
        ({"rmse": 1.0}, [1]),
        ({"rmse": 0.95}, [1]),
        ({"ndcg": 0.1, "rmse": 1.0}, [0, 1]),
        ({"ndcg": float("nan")}, [0]),
        ({"rmse": float("nan")}, [1]),
    ],
)
def test_not_better_is_rejected_and_says_which(figures, wrong):
    verdict = judge(evaluation(**figures), GateConfig())
    assert (verdict.verdict, verdict.promoted) == (REJECTED, False)
    assert ["not better than" in reason for reason in verdict.reasons] == [place in wrong for place in (0, 1)]


def test_without_a_hold_out_nothing_is_promoted():
    verdict = judge(evaluation(held_out=False), GateConfig())
    assert not verdict.promoted
    assert all("no rating is held out" in reason for reason in verdict.reasons)


def test_a_check_that_is_switched_off_passes_and_says_so():
    bad = evaluation(ndcg=0.1, rmse=1.0)
    assert not judge(bad, GateConfig(ranker_beats_popular=False)).promoted
    assert not judge(bad, GateConfig(rater_beats_means=False)).promoted
    off = GateConfig(ranker_beats_popular=False, rater_beats_means=False)
    for record in (bad, evaluation(held_out=False)):
        verdict = judge(record, off)
        assert verdict.promoted
        assert all("switched off" in reason for reason in verdict.reasons)


def test_a_baseline_is_not_compared_with_itself():
    verdict = judge(evaluation(ndcg=0.2, rmse=0.95, ranker="popular", rater="means"), GateConfig())
    assert verdict.promoted
    assert all("the baseline itself" in reason for reason in verdict.reasons)
