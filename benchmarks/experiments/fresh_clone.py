"""How long do the README's two commands take in a fresh clone, and how much do they install?

Command: python benchmark.py fresh_clone
Cost: 60 minutes
Result: results/fresh_clone.json
"""

import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.measures.installed_size import installed_mb
from benchmarks.results import record
from training.provenance import ROOT, git_commit


def add_arguments(parser) -> None:
    """Add nothing."""


def run(options) -> dict:
    """Run the README's first two commands, each in its own clone, with one empty Thaw cache for both and pip's own cache.

    The trained run is moved to the folder of runs.

    Raises:
        RuntimeError: a command failed; nothing is recorded.
    """
    commit, steps = git_commit(), []
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
        environment["THAW_CACHE"] = str(Path(folder) / "cache")
        for number, command in enumerate(readme_commands(ROOT / "README.md")):
            clone = Path(folder) / f"thaw-{number}"
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
            started = time.perf_counter()
            status = subprocess.run(command, shell=True, cwd=clone, env=environment, executable="/bin/bash").returncode
            if status:
                raise RuntimeError(f"A command of the README failed with status {status}: {command}")
            seconds = round(time.perf_counter() - started, 1)
            steps.append({"command": command, "seconds": seconds, "installed_mb": installed_mb(clone / ".venv")})
            _move_runs(clone / "runs", options.runs)
    return record(options.results / "fresh_clone.json", {"git_commit": commit, "steps": steps})


def readme_commands(readme: Path) -> list[str]:
    """Return the first two ```bash blocks of the README: install and train, install and test."""
    blocks = re.findall(r"```bash\n(.*?)```", readme.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [block.strip() for block in blocks[:2]]


def _move_runs(finished: Path, runs: Path) -> None:
    runs.mkdir(exist_ok=True)
    for run in finished.glob("*"):
        if not (runs / run.name).exists():
            shutil.move(run, runs / run.name)
