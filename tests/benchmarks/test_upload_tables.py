"""The tables of what people upload and of pictures of other things."""

import copy

import made_up_results
import pytest

from benchmarks.experiments.uploads import CONDITIONS
from benchmarks.report import upload_tables as upload_tables


def cells(table):
    rows = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_a_model_has_a_column_that_goes_from_stage_to_stage():
    result = made_up_results.domain_gap()
    after = result["stages"]["after"]["models"]["mobilenet_v2"]
    after |= {"resize_mode": "thumbnail", "command": "python train.py --model mobilenet_v2 --views robust"}
    tested = {"accuracy": {"runs": [{"command": after["command"], "accuracy": 0.9512}]}}
    table = upload_tables.domain_gap(result, tested)
    head, _, trained, fit, tested, clean, *others, photographs = cells(table)
    assert head == ["", "`small_cnn`", "`mobilenet_v2`"]
    assert trained == ["trained by", "strong → –", "strong → reference --views robust"]
    assert fit == ["fit", "bilinear → –", "bilinear → thumbnail"]
    assert tested == ["whole test set, by training", "– → –", "– → 95.12%"]
    assert clean == ["as it is", "75.0% → –", "95.0% → 96.0%"]
    assert [row[0] for row in others] == [*CONDITIONS, *upload_tables.SHOWN]
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
    rows = {row[0]: row[2] for row in cells(upload_tables.domain_gap(result, {}))}
    assert rows["jpeg_30"] == "99.0% → 99.0%"
    del result["stages"]["after"]
    table = upload_tables.domain_gap(result, {})
    assert "%)" not in table and "In brackets" not in table and "Accuracy on 2,000" in table


def test_the_means_of_a_group_are_over_its_conditions():
    result = made_up_results.domain_gap()
    conditions = result["stages"]["after"]["models"]["mobilenet_v2"]["conditions"]
    for accuracy, name in zip((0.9, 0.8, 0.7, 0.2), CONDITIONS["compression"], strict=True):
        conditions[name] = {**conditions[name], "accuracy": accuracy}
    kinds, models = upload_tables.by_kind(result)
    assert kinds[1] == "compression" and models["mobilenet_v2"]["after"][1] == pytest.approx(0.65)
    assert models["mobilenet_v2"]["before"][1] == pytest.approx(0.75)


def test_the_failures_are_of_the_default_model_of_the_last_stage():
    result = made_up_results.domain_gap()
    result["stages"]["after"]["models"]["mobilenet_v2"]["photographs"]["report"]["wrong"] = []
    assert upload_tables.failures(result) == ("mobilenet_v2", [], "figures/photographs-after.png")
    del result["stages"]["after"]
    model, rows, picture = upload_tables.failures(result)
    assert (model, picture) == ("mobilenet_v2", None) and [row["answer"] for row in rows] == ["frog"]
    result["stages"]["before"]["default"] = "small_cnn"
    small = result["stages"]["before"]["models"]["small_cnn"]
    assert upload_tables.failures(result)[:2] == ("small_cnn", small["photographs"]["report"]["wrong"])


def test_what_became_worse_is_named():
    result = made_up_results.domain_gap()
    assert "Worse" not in upload_tables.domain_gap(result, {})
    after = result["stages"]["after"]["models"]["mobilenet_v2"]
    after["command"] += " --views robust"
    after["conditions"]["jpeg_30"]["accuracy"] = 0.72
    after["conditions"]["blur_1"]["accuracy"] = 0.74
    after["photographs"]["report"]["accuracy"] = 0.94
    before = result["stages"]["before"]["models"]["mobilenet_v2"]
    rows = [{"command": row["command"], "accuracy": found} for row, found in ((before, 0.9512), (after, 0.9501))]
    table = upload_tables.domain_gap(result, {"accuracy": {"runs": rows}})
    assert (
        "`mobilenet_v2` on the whole test set (95.1% → 95.0%), photographs (95.0% → 94.0%), jpeg_30 (75.0% → 72.0%). "
        in table
    )


def test_confidence_and_calibration_go_from_stage_to_stage():
    head, _, *rows, photographs = cells(upload_tables.gap_calibration(made_up_results.domain_gap(), {}))
    assert head == ["confidence, calibration error", "`small_cnn`", "`mobilenet_v2`"]
    assert [row[0] for row in rows] == list(upload_tables.UPLOADS[:-1])
    assert all(row[1:] == ["77.0%, 2.0% → –", "97.0%, 2.0% → 98.0%, 2.0%"] for row in rows)
    assert photographs == ["photographs", "77.0% → –", "97.0% → 98.0%"], "too few for a calibration error"


def test_the_fits_say_which_is_best_and_which_is_best_for_one_answer():
    result = made_up_results.fits()
    table = upload_tables.fits(result, {})
    assert "| fitted | middle (ships) | middle and squeezed |" in table and "What ships is `middle`." in table
    assert "| photographs | 80.0% | 90.0% |\n| answers a picture | 1 | 2 |" in table
    assert "is `middle and squeezed`; of those that ask the model once, `middle`." in table
    assert "is `middle`. What ships" in upload_tables.fits({**result, "best": "middle"}, {})


def test_the_fits_say_where_another_model_is_better():
    result = made_up_results.fits()
    assert "as shipped, " not in upload_tables.fits(result, {})
    other = copy.deepcopy(result["models"]["mobilenet_v2"])
    result["models"]["speedrun_cnn"] = other
    other["fits"]["middle"]["conditions"] = {"as it is": 0.7, "jpeg_30": 0.847}  # two standard errors are 0.048
    assert (
        "`mobilenet_v2` is the best as shipped; another model beats it by more than chance nowhere. "
        in upload_tables.fits(result, {})
    )
    other["fits"]["middle"]["conditions"]["jpeg_30"] = 0.86
    told = "another model beats it by more than chance on jpeg_30 (`speedrun_cnn`, 86.0% against 80.0%) alone. "
    assert told in upload_tables.fits(result, {})


def test_views_are_told_with_what_they_give():
    assert "| and both | 2 | 90.0% | 70.0% | 2 min |" in upload_tables.robust_views(made_up_results.robust_views(), {})
    assert "this very set was not tried here" in upload_tables.robust_views(made_up_results.robust_views(), {})
    blend = made_up_results.blend()
    table = upload_tables.blend(blend, {})
    assert "| **35%** | 0.150 | 95.0% | 70.0% |" in table
    assert "`robust` takes 35%. <sub>" in table
