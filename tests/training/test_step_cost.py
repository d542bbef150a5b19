"""The timing of training steps: every way in a process of its own, and its table."""

import json

from training import step_cost, tables


def test_each_way_is_timed_in_its_own_process_and_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(step_cost, "WAYS", (("float32", 512, True), ("mixed_bfloat16", 1024, False)))
    result = step_cost.step_cost(tmp_path, "custom_cnn")
    assert json.loads((tmp_path / "step_cost.json").read_text()) == result
    assert [(row["precision"], row["batch_size"], row["onednn"]) for row in result["runs"]] == list(step_cost.WAYS)
    assert all(row["seconds"] > 0 for row in result["runs"])
    table = tables._step_cost(result, {})
    assert f"| float32 | 512 | on | {result['runs'][0]['seconds']:.2f} s |" in table and "| off |" in table
