"""The tables of pictures of other things."""

import made_up_results
import pytest

from benchmarks.measures.ood_scores import SCORES
from benchmarks.report import ood_tables as ood_tables


def test_scores_are_averaged_over_the_sets_of_a_kind():
    result = made_up_results.ood_detector()
    table = ood_tables.ood_detector(result, {})
    assert table.startswith("| `mobilenet_v2`: score |"), "the default"
    assert "| energy | 90.0 | 99.0 | 90.0 | 99.0 | 90.0 | 99.0 |" in table
    assert "near cars (40); near birds (40; a garden); far noise (40)" in table
    for halves in result["models"]["mobilenet_v2"]["scores"].values():
        for found in halves.values():
            del found["near cars"], found["near birds"]
    assert "| energy | – | 99.0 | – | 99.0 | – | 99.0 |" in ood_tables.ood_detector(result, {})


def test_the_choice_is_told_by_what_may_be_chosen_by():
    result = made_up_results.ood_detector()
    assert "is the best" not in ood_tables.ood_detector(result, {}), "no network allows all scores"
    model = result["models"]["mobilenet_v2"]["scores"]  # the other one has the same
    for score in SCORES:
        model[score] = {half: {"near cars": 0.8, "far noise": 0.9} for half in ("choice", "report")}
    model["energy"]["report"]["far noise"] = 1.0  # may change nothing
    model["NNGuide"]["choice"]["near cars"] = 0.85
    told = ood_tables.ood_detector(result, {})
    assert "NNGuide is the best of the published scores with 87.5 on average over the 2 networks" in told
    assert "(maximum probability: 85.0)" in told and "of few images and directions (94.5)" in told
    model["energy"]["choice"]["far noise"] = 0.97
    assert "energy is the best of the published scores with 88.5" in ood_tables.ood_detector(result, {})


def test_what_ships_has_a_row_for_every_model():
    table = ood_tables.shipped_novelty(made_up_results.ood_detector(), {})
    assert "| `mobilenet_v2` | 90.0 | 99.0 | 90.0 | 99.0 | 1.0% | 4.0% | 90.0% |" in table
    assert "| `small_cnn` | 90.0 | 99.0 | 90.0 | 99.0 | 0.0% | 0.0% | 0.0% |" in table
    assert "less than 5% of held-back images" in table


def test_doubted_uploads_are_told_with_how_often_they_are_right():
    table = ood_tables.doubted_uploads(made_up_results.ood_detector(), {})
    assert "| `mobilenet_v2` | called unlike |" in table
    assert "| as it is | 5.0% | 70.0% | 97.0% |" in table and "| jpeg_30 | 0.0% | – | 80.0% |" in table


@pytest.mark.parametrize(("shipped", "more"), [(4.4, "+10.0%"), (3.8, "-5.0%")])
def test_the_cost_is_told_as_a_share(shipped, more):
    result = made_up_results.upload_cost()
    result["runs"][0]["shipped_ms"] = shipped
    assert f"| `mobilenet_v2` | 32×32 PNG | 4.00 ms | {shipped:.2f} ms | {more} |" in ood_tables.upload_cost(result, {})
