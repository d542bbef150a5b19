"""The card of a saved model: its fields, its limits, and earlier schemas."""

import json

import pytest

from models.saved.calibration import Calibration
from models.saved.card import Card, ModelFileError, model_file, read_card

FACTS = {
    **{"name": "tiny", "version": "1", "labels": ("a", "b"), "input_size": 16, "resize_mode": "bilinear"},
    **{"temperature": 1.25, "exponent": 1.5, "test_accuracy": 0.5, "val_accuracy": 0.75},
    **{"parameters": {"total": 7, "trainable": 3}, "sha256": {"model.keras": "0" * 64, "ood.npz": "1" * 64}},
    **{"command": "python train.py", "recipe": "reference", "seed": 4, "weights": "none", "data": "made up"},
    **{"hardware": "2 cores", "seconds": 12.3, "date": "2026-01-31"},
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "card.json"


@pytest.mark.parametrize("optional", [{}, {"test_accuracy_tta": 0.5625, "validation_images": 40, "resolution": 32}])
def test_a_card_reads_as_it_was_written_without_absent_values(path, optional):
    card = Card(**FACTS, **optional)
    path.write_text(json.dumps(card.as_dict()))
    assert set(json.loads(path.read_text())) == {"schema_version", *FACTS, *optional}
    assert read_card(path) == card


def test_a_card_of_schema_1_is_read(path):
    old = {"fit" if key == "resize_mode" else key: value for key, value in FACTS.items() if key != "exponent"}
    path.write_text(json.dumps(old | {"sha256": {"model.keras": "0" * 64, "novelty.npz": "1" * 64}}))
    card = read_card(path)
    assert (card.resize_mode, card.sha256) == ("bilinear", FACTS["sha256"])
    assert card.calibration == Calibration(1.25, 1)
    path.with_name("novelty.npz").write_bytes(b"")
    assert model_file(path.parent, "ood.npz").name == "novelty.npz"
    path.with_name("ood.npz").write_bytes(b"")
    assert model_file(path.parent, "ood.npz").name == "ood.npz"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("labels", ("a",)), ("labels", ("a", "a")), ("input_size", 0), ("resolution", 0), ("temperature", 0)),
        *(("exponent", 0), ("test_accuracy", 90.6), ("val_accuracy", -0.1), ("schema_version", 99), ("colour", "red")),
    ],
)
def test_a_wrong_value_is_an_error_that_names_it(path, key, value):
    path.write_text(json.dumps(Card(**FACTS).as_dict() | {key: value}))
    with pytest.raises(ModelFileError, match=key):
        read_card(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"name": "tiny"}'])
def test_a_file_that_is_no_card_is_an_error(path, text):
    path.write_text(text)
    with pytest.raises(ModelFileError, match=r"card\.json"):
        read_card(path)
