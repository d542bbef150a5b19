"""The timing of training steps: every way in a process of its own, and its table."""

import json

from training import step_cost, tables


def test_each_way_is_timed_in_its_own_process_and_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(step_cost, "WAYS", (("float32", 512, True, False), ("float32", 1024, False, True)))
    result = step_cost.step_cost(tmp_path, "custom_cnn")
    assert json.loads((tmp_path / "step_cost.json").read_text()) == result
    (machine,) = result["machines"]
    settings = ("precision", "batch_size", "onednn", "memory_kept")
    assert [tuple(row[key] for key in settings) for row in machine["runs"]] == list(step_cost.WAYS)
    assert all(row["seconds"] > 0 for row in machine["runs"])
    table = tables._step_cost(result, {})
    assert f"| float32 | 512 | on | given back | {machine['runs'][0]['seconds']:.2f} s |" in table
    assert f"| off | kept | {machine['runs'][1]['seconds']:.2f} s |" in table
    (tmp_path / "step_cost.json").write_text(json.dumps({**result, "machines": [{**machine, "hardware": "another"}]}))
    monkeypatch.setattr(step_cost, "WAYS", ())
    assert [each["hardware"] for each in step_cost.step_cost(tmp_path)["machines"]] == ["another", machine["hardware"]]
