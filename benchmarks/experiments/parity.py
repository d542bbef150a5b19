"""Does each Keras port compute what its original computes, on the same weights?

Command: python benchmark.py parity
Cost: 5 minutes (PyTorch's outputs are recorded; with requirements-parity.txt they are computed again)
Result: results/parity.json
"""

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from benchmarks.results import record
from training.provenance import ROOT

TEST = "tests/models/pretrained/test_parity.py"


def add_arguments(parser) -> None:
    """Add nothing."""


def run(options) -> dict:
    """Run the parity tests, and record what they measured; RuntimeError, and no record, if one fails."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", TEST, "-m", "slow or not slow", f"--junitxml={report}"]
        command += ["-o", "junit_family=xunit1"]  # the format that holds recorded properties
        if subprocess.run(command, cwd=ROOT).returncode:
            raise RuntimeError("A port differs from its original, or could not be tested. See pytest's output above.")
        return record(options.results / "parity.json", {"runs": parity_rows(report)})


def parity_rows(report: Path) -> list[dict]:
    """Return the properties of each test in pytest's JUnit report, sorted by model."""
    kinds = {"parameters_theirs": int, "parameters_ours": int, "max_abs_difference": float}
    rows = []
    for case in ElementTree.parse(report).iter("testcase"):
        if recorded := {entry.get("name"): entry.get("value") for entry in case.iter("property")}:
            rows.append({name: kinds.get(name, str)(value) for name, value in recorded.items()})
    return sorted(rows, key=lambda row: row["model"])
