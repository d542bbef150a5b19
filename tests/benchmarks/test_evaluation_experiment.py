"""The evaluation of shipped models, on two tiny ones, and the parity rows of pytest's report."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from benchmarks.experiments import evaluation
from benchmarks.experiments.fresh_clone import readme_commands
from benchmarks.experiments.parity import parity_rows
from training.provenance import ROOT


@pytest.fixture
def dataset(ten_classes, monkeypatch):
    monkeypatch.setattr(evaluation, "load_cifar10", lambda: ten_classes)
    monkeypatch.setattr(evaluation, "FROM", "tiny_b")
    monkeypatch.setattr(evaluation, "TO", "tiny_a")
    return ten_classes


def test_every_model_is_evaluated_and_the_mistakes_are_drawn(saved_models, dataset, options, tmp_path):
    result = evaluation.run(options(), saved_models)
    assert json.loads((tmp_path / "evaluation.json").read_text()) == result
    images = len(dataset.x_test)
    for model in result["models"].values():
        assert np.sum(model["confusion_matrix"]) == images
        assert model["coverage"][-1]["accuracy"] == pytest.approx(model["accuracy"])
        assert sum(row["images"] for row in model["reliability"]["after"]) == images
    mistakes = images * (1 - result["models"]["tiny_a"]["accuracy"])
    assert sum(row["after"] for row in result["pairs"]["rows"]) == pytest.approx(mistakes)
    assert np.asarray(Image.open(tmp_path / "mistakes.png")).std() > 10, "not blank"


def test_labels_in_another_order_are_evaluated_by_their_names(saved_models, dataset, options, tmp_path):
    store = shutil.copytree(saved_models, tmp_path / "store")
    before = evaluation.run(options(), store)["models"]["tiny_a"]
    card = store / "tiny_a" / "card.json"
    stored = json.loads(card.read_text())
    card.write_text(json.dumps(stored | {"labels": stored["labels"][::-1]}))
    after = evaluation.run(options(), store)["models"]["tiny_a"]
    columns = np.array(before["confusion_matrix"])
    assert columns.any(axis=0).sum() > 1, "more than one class is predicted"
    assert (np.array(after["confusion_matrix"]) == columns[:, ::-1]).all()


def test_what_parity_tests_record_becomes_rows(tmp_path):
    recorded = {"model": "net", "parameters_ours": "7", "max_abs_difference": "1e-07", "round_trip": "bit-exact"}
    properties = "".join(f'<property name="{name}" value="{value}"/>' for name, value in recorded.items())
    case = f"<testcase><properties>{properties}</properties></testcase>"
    (tmp_path / "report.xml").write_text(f"<testsuites><testsuite><testcase/>{case}</testsuite></testsuites>")
    expected = {"model": "net", "parameters_ours": 7, "max_abs_difference": 1e-7, "round_trip": "bit-exact"}
    assert parity_rows(tmp_path / "report.xml") == [expected]


def test_the_first_two_commands_of_the_readme_train_and_test():
    train, test = readme_commands(ROOT / "README.md")
    assert "train.py" in train and "pytest" in test
