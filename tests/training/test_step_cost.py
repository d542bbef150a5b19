"""The timing of training steps: every way in a process of its own, and its table."""

import json
from types import SimpleNamespace

import pytest

from training import step_cost, tables


def test_each_way_is_timed_in_its_own_process_and_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(step_cost, "WAYS", (("float32", 32, True), ("float32", 64, False)))
    result = step_cost.step_cost(tmp_path, "custom_cnn", images=64)
    assert json.loads((tmp_path / "step_cost.json").read_text()) == result
    (machine,) = result["machines"]
    settings = ("precision", "batch_size", "onednn")
    assert [tuple(row[key] for key in settings) for row in machine["runs"]] == list(step_cost.WAYS)
    assert all(row["seconds"] > 0 for row in machine["runs"])
    table = tables._step_cost(result, {})
    assert f"| float32 | 32 | on | {machine['runs'][0]['seconds']:.2f} s |" in table
    assert f"| off | {machine['runs'][1]['seconds']:.2f} s |" in table


def test_the_way_reaches_the_process_and_other_machines_stay(tmp_path, monkeypatch):
    asked = []

    def answer(command, env, **_):
        asked.append((*command[3:], env["TF_ENABLE_ONEDNN_OPTS"]))
        return SimpleNamespace(stdout="1.5\n")

    monkeypatch.setattr(step_cost, "subprocess", SimpleNamespace(run=answer, PIPE=None))
    monkeypatch.setattr(step_cost, "computes_bfloat16", lambda: False)
    ways = (("float32", 64, True), ("mixed_bfloat16", 64, True), ("float32", 32, False))
    monkeypatch.setattr(step_cost, "WAYS", ways)
    first = step_cost.step_cost(tmp_path, "custom_cnn", images=64)
    assert asked == [("custom_cnn", "float32", "64", "64", "1"), ("custom_cnn", "float32", "32", "64", "0")]
    machine = {**first["machines"][0], "hardware": "another"}
    (tmp_path / "step_cost.json").write_text(json.dumps({**first, "machines": [machine]}))
    monkeypatch.setattr(step_cost, "computes_bfloat16", lambda: True)
    both = step_cost.step_cost(tmp_path, "custom_cnn", images=64)["machines"]
    assert both[0] == machine and [run["precision"] for run in both[1]["runs"]] == [way[0] for way in ways]
    with pytest.raises(ValueError, match="holds measurements of something else"):
        step_cost.step_cost(tmp_path, "speedrun_cnn", images=64)
    with pytest.raises(ValueError, match="images must be a multiple of the batch sizes. Received: images=96"):
        step_cost.step_cost(tmp_path / "new", "custom_cnn", images=96)
