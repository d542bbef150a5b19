"""The tables of what people upload and of pictures of other things."""

import made_up_results
import pytest

from training import gap_tables
from training.domain_gap import CONDITIONS


def cells(table):
    rows = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_a_model_has_a_column_that_goes_from_stage_to_stage():
    table = gap_tables.domain_gap(made_up_results.domain_gap(), {})
    head, _, fit, clean, *others, photographs = cells(table)
    assert head == ["", "`small_cnn`", "`mobilenet_v2`"]
    assert fit == ["fit", "bilinear → –", "bilinear → bilinear"]
    assert clean == ["as it is", "75.0% → –", "95.0% → 96.0%"]
    assert [row[0] for row in others] == [*CONDITIONS, *gap_tables.SHOWN]
    assert all(row[1:] == ["55.0% → –", "75.0% → 76.0%"] for row in others)
    assert photographs == ["photographs", "75.0% → –", "95.0% → 96.0%"]
    assert "Accuracy, before → after, on 2,000 test images" in table and "(47 of them)" in table
    assert "Before: <sub>an abacus, 2026-01-02</sub>. After: <sub>an abacus, 2026-01-02</sub>." in table


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
    assert gap_tables.failures(result) == ("mobilenet_v2", [])
    del result["stages"]["after"]
    model, rows = gap_tables.failures(result)
    assert model == "mobilenet_v2" and [row["answer"] for row in rows] == ["frog"]


def test_confidence_and_calibration_are_of_the_last_stage():
    head, _, *rows = cells(gap_tables.gap_calibration(made_up_results.domain_gap(), {}))
    assert head == ["confidence, calibration error", "`mobilenet_v2`"]
    assert [row[0] for row in rows] == list(gap_tables.UPLOADS)
    assert all(row[1] == "98.0%, 2.0%" for row in rows)


def test_scores_are_averaged_over_the_sets_of_a_kind():
    result = made_up_results.novelty()
    table = gap_tables.novelty(result, {})
    assert "| energy | 90.0 | 99.0 | 90.0 | 99.0 | 90.0 | 99.0 |" in table
    assert "near cars (40), near birds (40), far noise (40)" in table
    for halves in result["models"]["mobilenet_v2"]["scores"].values():
        for found in halves.values():
            del found["near cars"], found["near birds"]
    assert "| energy | – | 99.0 | – | 99.0 | – | 99.0 |" in gap_tables.novelty(result, {})


def test_warnings_are_counted_for_every_model():
    table = gap_tables.warnings(made_up_results.novelty(), {})
    assert "| `mobilenet_v2` | 1.0% | 4.0% | 90.0% |" in table and "| `small_cnn` | 0.0% | 0.0% | 0.0% |" in table
    assert "less than 5% of held-back images" in table
