"""The results writer, and one schema for each result file."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from benchmarks.experiments import experiments
from benchmarks.results import ORIGIN, merge, read, read_all, record

RESULTS = Path(__file__).parents[2] / "results"
SCHEMA = {  # keys of each file, and keys of each of its rows, which are under the first key
    "accuracy": (
        ("runs",),
        ("model", "recipe", "command", "seed", "accuracy", "accuracy_tta", "parameters", "seconds"),
    ),
    "comparison": (("models", "budget", "pairs"), ("model", "phase", "accuracy_mean", "accuracy_interval", "runs")),
    "evaluation": (("models", "class_names", "pairs"), ("accuracy", "macro", "calibration", "confusion_matrix")),
    "fresh_clone": (("steps",), ("command", "seconds")),
    "latency": (("runs", "ties", "same_ranking"), ("model", "engine", "median_ms", "p95_ms", "rounds_ms")),
    "ood_detection": (
        ("models", "default", "sets", "unlike"),
        ("scores", "scores_of_photographs", "unlike", "uploads"),
    ),
    "parity": (
        ("runs",),
        ("model", "original", "naming", "max_abs_difference", "parameters_ours", "parameters_theirs"),
    ),
    "reference": (("runs", "head", "finetune"), ("phase", "seed", "accuracy", "epochs", "seconds", "command")),
    "serving": (("runs", "ratios", "workers", "installed_mb"), ("app", "image", "requests_per_second", "resident_mb")),
    "stopping": (("runs", "lost", "repeats"), ("event", "answered", "lost")),
    "time_to_accuracy": (("runs", "model", "image_size"), ("way", "epochs", "curve", "seconds_until")),
    "training_cost": (("epochs", "cached", "plain", "images", "ratios"), ()),
    "upload_cost": (("runs",), ("model", "image", "plain_ms", "shipped_ms")),
    "uploads": (("stages",), ("test_images", "models")),
}
SHARES = "accuracy accuracy_mean accuracy_tta macro_f1 confidence coverage calibration_error p_holm".split()


def numbers(value, name: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number of a result with its key."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from numbers(part, key)
    elif isinstance(value, list):
        for part in value:
            yield from numbers(part, name)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value


@pytest.mark.parametrize("name", SCHEMA)
def test_a_result_file_has_its_keys_and_its_origin(name):
    result, (keys, row_keys) = json.loads((RESULTS / f"{name}.json").read_text()), SCHEMA[name]
    assert {*ORIGIN, *keys} <= result.keys()
    found = result[keys[0]]
    for row in found.values() if isinstance(found, dict) and row_keys else found if row_keys else ():
        assert set(row_keys) <= row.keys()
    for key, number in numbers(result):
        assert math.isfinite(number), key
        assert 0 <= number <= 1 or key not in SHARES, (key, number)


def test_every_result_has_an_experiment_and_a_schema():
    assert set(read_all(RESULTS)) == set(SCHEMA) == set(experiments())


def test_archived_results_are_listed():
    text = (RESULTS / "archive" / "README.md").read_text(encoding="utf-8")
    for path in (RESULTS / "archive").glob("*.json"):
        assert f"`{path.name}`" in text


def test_every_experiment_states_question_command_cost_and_result():
    for name, described in experiments().items():
        assert described["question"] and described["cost"], name
        assert described["command"].startswith(f"python benchmark.py {name}")
        assert described["result"].startswith(f"results/{name}.json")


def test_a_recorded_result_is_read_again_with_the_same_setting_only(tmp_path):
    result = record(tmp_path / "some.json", {"images": 10, "runs": []})
    assert set(ORIGIN) <= result.keys()
    assert read(tmp_path / "some.json", {"images": 10}) == result == read_all(tmp_path)["some"]
    assert read(tmp_path / "none.json", {"images": 10}) == {}
    with pytest.raises(ValueError, match="images=20"):
        read(tmp_path / "some.json", {"images": 20})


def test_a_row_takes_the_place_of_the_one_with_the_same_key():
    rows = [{"model": "a", "seed": 0, "n": 1}, {"model": "a", "seed": 1, "n": 1}]
    changed, new = {"model": "a", "seed": 0, "n": 2}, {"model": "b", "seed": 0}
    assert merge(rows, changed, "model", "seed") == [changed, rows[1]]
    assert merge(rows, new, "model", "seed") == [*rows, new]
