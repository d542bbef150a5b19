"""The API against its own description, with requests that schemathesis makes up: no answer that is not described."""

import os
import subprocess
import sys
from pathlib import Path

import requests

from benchmarks.server.server_process import ServerProcess

HERE = Path(__file__).parent


def test_every_answer_is_described(saved_models, tmp_path):
    with ServerProcess(environment={"THAW_MODELS": str(saved_models), "WEB_CONCURRENCY": "1"}) as server:
        # Every check that it has: status, content type and schema as described, no 5xx, valid requests answered, wrong refused.
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", HERE / "schemathesis.toml", "run"]
        options = ["--max-examples", "40", "--seed", "1", "--no-color"]
        run = subprocess.run(
            [*command, f"{server.url}/openapi.json", *options],
            env={**os.environ, "SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(HERE)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert requests.get(f"{server.url}/readyz").ok
    assert run.returncode == 0, run.stdout[-5000:]
    assert "Tested: 6" in run.stdout
