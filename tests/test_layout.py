"""Imports go one way: training → models, deploy → inference → models, and nothing looks upward."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {
    "models": {"models"},
    "training": {"models", "training"},
    "inference": {"models", "inference"},
    "deploy": {"models", "inference", "deploy"},
}
OURS = {*ROOMS, "inference", "deploy", "train", "evaluate", "predict", "benchmark", "gradio_app"}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; name the room"
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_imports_upward(room):
    files = list((ROOT / room).rglob("*.py"))
    assert len(files) > 5
    for path in files:
        assert imported(path) & OURS <= ROOMS[room], path


def test_the_rule_would_catch_a_breach(tmp_path):
    (tmp_path / "breach.py").write_text("def f():\n    from training.run import Run\n")
    assert not imported(tmp_path / "breach.py") & OURS <= ROOMS["models"]
