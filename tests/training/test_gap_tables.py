"""The tables of what people upload and of pictures of other things."""

import made_up_results
import pytest

from training import gap_tables
from training.domain_gap import CONDITIONS


def cells(table):
    rows = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_a_model_has_a_column_that_goes_from_stage_to_stage():
    result = made_up_results.domain_gap()
    after = result["stages"]["after"]["models"]["mobilenet_v2"]
    after |= {"fit": "thumbnail", "command": "python train.py --model mobilenet_v2 --views robust"}
    tested = {"accuracy": {"runs": [{"command": after["command"], "accuracy": 0.9512}]}}
    table = gap_tables.domain_gap(result, tested)
    head, _, trained, fit, tested, clean, *others, photographs = cells(table)
    assert head == ["", "`small_cnn`", "`mobilenet_v2`"]
    assert trained == ["trained by", "strong → –", "strong → its default --views robust"]
    assert fit == ["fit", "bilinear → –", "bilinear → thumbnail"]
    assert tested == ["whole test set, by training", "– → –", "– → 95.12%"]
    assert clean == ["as it is", "75.0% → –", "95.0% → 96.0%"]
    assert [row[0] for row in others] == [*CONDITIONS, *gap_tables.SHOWN]
    assert all(row[1:] == ["55.0% → –", "75.0% → 76.0% (5%)"] for row in others), "1 of 20 points"
    assert photographs == ["photographs", "75.0% → –", "95.0% → 96.0%"]
    assert "Accuracy, before → after, on 2,000 test images" in table and "(47 of them)" in table
    assert "Of these conditions jpeg_10 is a view that `robust` trains on." in table
    assert "Before: <sub>an abacus, 2026-01-02</sub>. After: <sub>an abacus, 2026-01-02</sub>." in table


def test_what_was_not_lost_cannot_be_recovered():
    result = made_up_results.domain_gap()
    for stage in result["stages"].values():
        for row in stage["models"].values():
            row["conditions"]["jpeg_30"]["accuracy"] = 0.99
    rows = {row[0]: row[2] for row in cells(gap_tables.domain_gap(result, {}))}
    assert rows["jpeg_30"] == "99.0% → 99.0%"
    del result["stages"]["after"]
    table = gap_tables.domain_gap(result, {})
    assert "%)" not in table and "In brackets" not in table and "Accuracy on 2,000" in table


def test_the_means_of_a_group_are_over_its_conditions():
    result = made_up_results.domain_gap()
    conditions = result["stages"]["after"]["models"]["mobilenet_v2"]["conditions"]
    for accuracy, name in zip((0.9, 0.8, 0.7, 0.2), CONDITIONS["compression"], strict=True):
        conditions[name] = {**conditions[name], "accuracy": accuracy}
    kinds, models = gap_tables.by_kind(result)
    assert kinds[1] == "compression" and models["mobilenet_v2"]["after"][1] == pytest.approx(0.65)
    assert models["mobilenet_v2"]["before"][1] == pytest.approx(0.75)


def test_the_failures_are_of_the_best_model_of_the_last_stage():
    result = made_up_results.domain_gap()
    result["stages"]["after"]["models"]["mobilenet_v2"]["photographs"]["report"]["wrong"] = []
    assert gap_tables.failures(result, {}) == ("mobilenet_v2", [], "figures/photographs-after-mobilenet_v2.png")
    del result["stages"]["after"]
    small = result["stages"]["before"]["models"]["small_cnn"]
    model, rows, _ = gap_tables.failures(result, {})
    assert model == "mobilenet_v2" and [row["answer"] for row in rows] == ["frog"]
    small |= {"command": "python train.py --model small_cnn", "picture": "figures/a.png"}
    tested = {"accuracy": {"runs": [{"command": small["command"], "accuracy": 0.99}]}}
    assert gap_tables.failures(result, tested) == (
        "small_cnn",
        small["photographs"]["report"]["wrong"],
        "figures/a.png",
    )


def test_confidence_and_calibration_go_from_stage_to_stage():
    head, _, *rows, photographs = cells(gap_tables.gap_calibration(made_up_results.domain_gap(), {}))
    assert head == ["confidence, calibration error", "`small_cnn`", "`mobilenet_v2`"]
    assert [row[0] for row in rows] == list(gap_tables.UPLOADS[:-1])
    assert all(row[1:] == ["77.0%, 2.0% → –", "97.0%, 2.0% → 98.0%, 2.0%"] for row in rows)
    assert photographs == ["photographs", "77.0% → –", "97.0% → 98.0%"], "too few for a calibration error"


def test_the_fits_say_which_is_best_and_which_is_best_for_one_answer():
    result = made_up_results.fits()
    table = gap_tables.fits(result, {})
    assert "| photographs | 80.0% | 90.0% |\n| answers a picture | 1 | 2 |" in table
    assert "is `middle and squeezed`; of those that ask the model once, `middle`." in table
    assert "is `middle`. <sub>" in gap_tables.fits({**result, "best": "middle"}, {})


def test_views_are_told_with_what_they_give():
    assert "| and both | 2 | 90.0% | 70.0% | 2 min |" in gap_tables.robust_views(made_up_results.robust_views(), {})
    assert "| 35% | 0.150 | 95.0% | 70.0% |" in gap_tables.blend(made_up_results.blend(), {})
