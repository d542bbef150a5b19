"""The measurement of shares of weights, on the tiny network."""

import csv
import dataclasses

import pytest

from training import gap_tables, measure_blend, run
from training.config import make_config
from training.run import Run


def test_averages_of_both_are_asked_and_the_test_set_is_not(tiny_recipes, dataset, tmp_path, monkeypatch):
    choices = {"epochs": 1, "weights": "none", "head": "linear", "validation": 24}
    config = make_config("finetune", tiny_recipes, "strong", **choices, blend="reference")
    Run(config, folder := tmp_path / "run").complete()
    blind = dataclasses.replace(dataset, x_test=dataset.x_test[:0], y_test=dataset.y_test[:0])
    monkeypatch.setattr(run, "load_cifar10", lambda data_dir: blind)
    monkeypatch.setattr(measure_blend, "CONDITIONS", ("identity", "brightness_0.01"))
    result = measure_blend.measure_blend(folder, tmp_path, shares=(0.0, 0.5, 1.0))
    assert [row["share"] for row in result["runs"]] == [0, 0.5, 1]
    for row, part in ((result["runs"][0], "strong"), (result["runs"][2], "reference")):
        with open(folder / part / "history.csv", newline="") as file:
            *_, last = csv.DictReader(file)
        assert row["accuracy"]["identity"] == pytest.approx(float(last["val_accuracy"]), abs=1e-6)
        assert row["accuracy"]["brightness_0.01"] < 0.8
    assert "| **50%** |" in gap_tables.blend(result, {})


def test_what_cannot_be_averaged_is_told(tiny_recipes, tmp_path):
    config = make_config("finetune", tiny_recipes, "strong", weights="none")
    config.save(tmp_path / "config.json", {})
    with pytest.raises(ValueError, match="must be one with a blend"):
        measure_blend.measure_blend(tmp_path, tmp_path)
    dataclasses.replace(config, blend="reference").save(tmp_path / "config.json", {})
    with pytest.raises(ValueError, match="both parts must be trained; go on with --resume"):
        measure_blend.measure_blend(tmp_path, tmp_path)
