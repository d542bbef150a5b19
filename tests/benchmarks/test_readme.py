"""The README's numbers follow the result files, and the README in the repository is up to date."""

import itertools
import json
from pathlib import Path

import pytest

from benchmarks.experiments.reference import readme_commands
from benchmarks.report.readme import BEGIN, END, rendered

ROOT = Path(__file__).parent.parent.parent


def test_the_readme_holds_the_tables_of_the_results():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert rendered(text, ROOT / "results") == text, "run `python benchmark.py --readme`"


def test_every_table_has_as_many_columns_in_its_line_and_rows_as_in_its_head():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    marks = [place for place, line in enumerate(lines) if line and set(line) == set("|-")]
    assert len(marks) > 5
    for mark in marks:
        table = [lines[mark - 1], *itertools.takewhile(lambda line: line.startswith("|"), lines[mark:])]
        assert len({line.replace(r"\|", "").count("|") for line in table}) == 1, table[0]


def test_a_changed_result_changes_the_readme(tmp_path):
    run = {"seed": 0, "accuracy": 0.9, "macro_f1": 0.9}
    spread = {"n": 1, "accuracy_mean": 0.9, "accuracy_deviation": None}
    result = {
        "runs": [{**run, "phase": phase} for phase in ("head", "finetune")],
        "head": spread,
        "finetune": {**spread, "accuracy_mean": 0.91234},
        "hardware": "an abacus",
        "date": "2026-01-02",
    }
    (tmp_path / "reference.json").write_text(json.dumps(result))
    text = rendered(f"{BEGIN}{END}", tmp_path)
    for expected in ("**91.23%**", "**90.00%**", "0.9000", "an abacus, 2026-01-02"):
        assert expected in text
    result["finetune"]["accuracy_mean"] = 0.93
    (tmp_path / "reference.json").write_text(json.dumps(result))
    assert "**93.00%**" in rendered(text, tmp_path)


def test_a_readme_without_marks_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must hold the marks"):
        rendered("# A title", tmp_path)


def test_without_results_there_are_no_tables(tmp_path):
    assert rendered(f"a {BEGIN} 91.00% {END} b", tmp_path) == f"a {BEGIN}\n\n\n\n{END} b"


def test_the_readme_begins_with_the_two_commands():
    train, test = readme_commands(ROOT / "README.md")
    assert train.endswith("train.py --phase finetune")
    assert test.endswith("-m pytest")
