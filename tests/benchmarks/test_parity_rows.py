"""Measurements of the networks, on the tiny network: what they record, and that a table follows it."""

import json

import pytest

from benchmarks.experiments import parity as measure_networks
from benchmarks.report import tables
from training import run
from training.config import make_config


@pytest.fixture
def tiny_world(tiny_network, dataset, cache, monkeypatch):
    for module in (run, measure_networks):
        monkeypatch.setattr(module, "load_cifar10", lambda data_dir=None: dataset)
    return tiny_network


def test_networks_are_trained_once_and_recorded(tiny_world, tmp_path, monkeypatch):
    monkeypatch.setattr(measure_networks, "PACKAGED", (tiny_world,))
    monkeypatch.setattr(measure_networks, "SCRATCH", {"custom_cnn": "flip"})
    monkeypatch.setattr(measure_networks, "SCRATCH_EPOCHS", 1)
    monkeypatch.setattr(
        measure_networks,
        "make_config",
        lambda phase, name, **choices: make_config(
            phase, name, weights="none", epochs=choices.get("epochs", 1), augment=choices.get("augment", "none")
        ),
    )
    result = measure_networks.networks(tmp_path / "runs", tmp_path / "results")
    transfer, scratch = result["runs"]
    assert (transfer["model"], transfer["phase"], transfer["head"]) == (tiny_world, "head", "dense")
    assert transfer["parameters"]["trainable"] < transfer["parameters"]["total"]
    assert transfer["seconds"]["cache"] > 0
    assert (scratch["model"], scratch["phase"]) == ("custom_cnn", "scratch")
    assert scratch["command"] == "python train.py --model custom_cnn --epochs 1 --augment flip"
    assert json.loads((tmp_path / "results" / "networks.json").read_text()) == result
    table = tables._networks(result, {"linear_probe": {"runs": [{"model": tiny_world, "accuracy": 0.4321}]}})
    assert f"`{tiny_world}`" in table
    assert "43.21%" in table
    assert f"**{transfer['accuracy']:.2%}**" in table


def test_linear_probe_tells_the_classes_apart(tiny_world, tmp_path, monkeypatch):
    create_model = measure_networks.create_model
    monkeypatch.setattr(
        measure_networks, "create_model", lambda name, head: create_model(name, weights=None, head=head)
    )
    result = measure_networks.linear_probe(tmp_path, models=(tiny_world,))
    (row,) = result["runs"]
    assert row["features"] == 12
    assert row["accuracy"] > 0.6, "three colours under noise, by chance 0.33"
    assert json.loads((tmp_path / "linear_probe.json").read_text()) == result


def test_what_the_parity_tests_record_becomes_rows_and_a_table(tmp_path):
    row = {
        "model": "net",
        "naming": "torchvision",
        "original": "plain PyTorch",
        "parameters_theirs": "7",
        "parameters_ours": "7",
        "max_abs_difference": "1e-07",
        "round_trip": "bit-exact",
    }
    other = row | {"naming": "timm", "max_abs_difference": "3e-06"}
    cases = "".join(
        "<testcase><properties>"
        + "".join(f'<property name="{name}" value="{value}"/>' for name, value in each.items())
        + "</properties></testcase>"
        for each in (row, other)
    )
    (tmp_path / "report.xml").write_text(
        f"<testsuites><testsuite><testcase/>{cases}</testsuite></testsuites>", encoding="utf-8"
    )
    rows = measure_networks.parity_rows(tmp_path / "report.xml")
    assert [(each["naming"], each["max_abs_difference"], each["parameters_ours"]) for each in rows] == [
        ("torchvision", 1e-7, 7),
        ("timm", 3e-6, 7),
    ]
    table = tables._parity({"runs": rows, "hardware": "an abacus", "date": "2026-01-02"}, {})
    assert "| `net` | plain PyTorch (torchvision, timm) | 7 | 7 | 3.0e-06 | bit-exact |" in table
