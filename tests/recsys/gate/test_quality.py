"""What the gate finds on an evaluation, each with its reason."""

import pytest

from recsys.config import GateConfig
from recsys.gate.quality import quality
from recsys.gate.verdict import PROMOTED, REJECTED, SUSPICIOUS, UNGATED, Finding, Verdict


def compared(ndcg=(0.4, 0.4, 0.01), rmse=(0.9, 0.9, 0.005), users=1000):
    """A champion's record: (its figure, tonight's, half the width of the difference's interval) of each metric."""
    record = {"run_id": "before", "users": users, "metrics": {}, "own": {}, "differences": {}}
    for name, (theirs, own, half) in {"ndcg@10": ndcg, "rmse": rmse}.items():
        record["metrics"][name], record["own"][name] = {"value": theirs}, {"value": own}
        gap = own - theirs
        record["differences"][name] = {"value": gap, "low": gap - half, "high": gap + half}
    return record


def evaluation(ndcg=0.4, rmse=0.9, ranker="edlae", rater="biased_mf", held_out=True, champion=None):
    def figures(**values):
        return {name.replace("_at_", "@"): {"value": value} for name, value in values.items() if held_out}

    return {
        "ranker": ranker,
        "rater": rater,
        "metrics": figures(ndcg_at_10=ndcg, rmse=rmse) | {"coverage@10": {"value": 0.5}},
        "baselines": {"popular": figures(ndcg_at_10=0.2), "means": figures(rmse=0.95)},
        "champion": champion or compared(),
    }


def judge(record, config=None):
    return Verdict.of(quality(record, config or GateConfig()), {REJECTED: True, SUSPICIOUS: True})


def test_better_than_both_baselines_and_as_good_as_the_published_run_is_promoted():
    verdict = judge(evaluation())
    assert (verdict.verdict, verdict.publish) == (PROMOTED, True)
    assert verdict.reasons[:2] == (
        "ndcg@10 0.4000 of edlae is better than 0.2000 of popular",
        "rmse 0.9000 of biased_mf is better than 0.9500 of means",
    )


@pytest.mark.parametrize(
    ("figures", "wrong"),
    [
        ({"ndcg": 0.1}, {"ranker_beats_popular"}),
        ({"ndcg": 0.2}, {"ranker_beats_popular"}),  # equal is not better
        ({"rmse": 1.0}, {"rater_beats_means"}),
        ({"rmse": 0.95}, {"rater_beats_means"}),
        ({"ndcg": 0.1, "rmse": 1.0}, {"ranker_beats_popular", "rater_beats_means"}),
        ({"ndcg": float("nan")}, {"ranker_beats_popular"}),
        ({"rmse": float("nan")}, {"rater_beats_means"}),
    ],
)
def test_not_better_is_rejected_and_says_which(figures, wrong):
    verdict = judge(evaluation(**figures))
    assert (verdict.verdict, verdict.publish) == (REJECTED, False)
    assert {finding.check for finding in verdict.findings if finding.verdict == REJECTED} == wrong
    assert all("not better than" in reason for reason in verdict.blocking)


def test_without_a_hold_out_nothing_is_promoted():
    verdict = judge(evaluation(held_out=False))
    assert not verdict.publish
    assert all("no rating is held out" in reason for reason in verdict.blocking)


def test_a_check_that_is_switched_off_passes_and_says_so():
    bad = evaluation(ndcg=0.1, rmse=1.0)
    assert not judge(bad, GateConfig(ranker_beats_popular=False)).publish
    assert not judge(bad, GateConfig(rater_beats_means=False)).publish
    off = GateConfig(ranker_beats_popular=False, rater_beats_means=False)
    for record in (bad, evaluation(held_out=False)):
        verdict = judge(record, off)
        assert verdict.publish
        assert sum("switched off" in reason for reason in verdict.reasons) == 2


def test_a_baseline_is_not_compared_with_itself():
    verdict = judge(evaluation(ndcg=0.2, rmse=0.95, ranker="popular", rater="means"))
    assert verdict.publish
    assert sum("the baseline itself" in reason for reason in verdict.reasons) == 2


@pytest.mark.parametrize(
    ("floors", "verdict"),
    [
        ({"min_ndcg": 0.4, "max_rmse": 0.9}, PROMOTED),
        ({"min_ndcg": 0.41}, REJECTED),
        ({"max_rmse": 0.89}, REJECTED),
    ],
)
def test_fixed_floors(floors, verdict):
    assert judge(evaluation(), GateConfig(**floors)).verdict == verdict


@pytest.mark.parametrize(
    ("champion", "verdict"),
    [
        (compared(ndcg=(0.4, 0.380, 0.005)), REJECTED),  # certainly worse by more than 2%
        (compared(ndcg=(0.4, 0.380, 0.015)), PROMOTED),  # 5% worse, and it may be noise
        (compared(ndcg=(0.4, 0.395, 0.001)), PROMOTED),  # certainly worse, by 1%
        (compared(rmse=(0.9, 0.930, 0.005)), REJECTED),
        (compared(rmse=(0.9, 0.930, 0.025)), PROMOTED),
        (compared(ndcg=(0.4, 0.520, 0.010)), SUSPICIOUS),  # certainly better by more than 10%
        (compared(ndcg=(0.4, 0.480, 0.050)), PROMOTED),
        (compared(ndcg=(0.4, 0.430, 0.010)), PROMOTED),
        (compared(rmse=(0.9, 0.700, 0.010)), SUSPICIOUS),
        (compared(ndcg=(0.4, 0.520, 0.010), rmse=(0.9, 0.930, 0.005)), REJECTED),  # the worse of the two
        (compared(ndcg=(0.4, 0.2, 0.01), users=49), UNGATED),
        ({"run_id": None, "why_not": "nothing was published before"}, UNGATED),
    ],
)
def test_against_the_published_run(champion, verdict):
    found = judge(evaluation(champion=champion))
    assert found.verdict == verdict
    assert found.publish == (verdict in (PROMOTED, UNGATED))


def test_reasons_have_the_figures():
    worse = judge(evaluation(champion=compared(ndcg=(0.4, 0.38, 0.005))))
    assert worse.blocking == (
        "ndcg@10 0.3800 against 0.4000 of the published run before: -0.0200 [-0.0250, -0.0150] over 1,000 users; "
        "worse by more than 2%",
    )


def test_the_worst_finding_is_the_verdict_and_comes_first():
    findings = [Finding("a", PROMOTED, "fine"), Finding("b", SUSPICIOUS, "odd"), Finding("c", UNGATED, "alone")]
    verdict = Verdict.of(findings, {SUSPICIOUS: False})
    assert (verdict.verdict, verdict.publish, verdict.reasons) == (SUSPICIOUS, True, ("odd", "alone", "fine"))
    assert Verdict.read(verdict.record()) == verdict
