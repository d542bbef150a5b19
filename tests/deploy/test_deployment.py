"""What hosts read: the Dockerfile by hadolint and by doing its steps in a fresh folder, Render's blueprint, the Procfile."""

import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import yaml

from benchmarks.server.server_process import ServerProcess, procfile_command

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
START = "gunicorn --config deploy/gunicorn.conf.py"


def steps():
    """Return the Dockerfile's (instruction, arguments) pairs, continued lines joined."""
    lines = re.sub(r"\\\n\s*", " ", DOCKERFILE.read_text()).splitlines()
    return [tuple(line.split(" ", 1)) for line in lines if line and not line.startswith("#")]


def arguments(instruction):
    return [rest for name, rest in steps() if name == instruction]


def ignored(name):
    """Whether .dockerignore keeps a top-level name out: the last pattern that fits decides."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if line and not line.startswith("#") and fnmatch.fnmatch(name, pattern):
            verdict = not line.startswith("!")
    return verdict


@pytest.mark.skipif(
    shutil.which("hadolint", path=Path(sys.executable).parent) is None, reason="hadolint is not installed"
)
def test_hadolint_finds_nothing():
    program = shutil.which("hadolint", path=Path(sys.executable).parent)
    run = subprocess.run([program, DOCKERFILE], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def test_the_image_does_not_run_as_root():
    names = [name for name, _ in steps()]
    assert arguments("USER") == ["1000"]
    assert names.index("USER") < names.index("CMD")


def test_its_steps_in_a_fresh_folder_make_a_server_that_answers(saved_models, tmp_path):
    for copied in arguments("COPY"):
        source, target = copied.split()
        assert not ignored(source), f".dockerignore keeps {source} out"
        if source == "saved_models":
            shutil.copytree(saved_models, tmp_path / target)
        elif (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, tmp_path / target)
    assert {"pip install --no-cache-dir --requirement requirements-serve.txt"} <= set(arguments("RUN"))
    (command,) = arguments("CMD")
    command = [sys.executable, "-m", *yaml.safe_load(command)]
    with ServerProcess(command, {"WEB_CONCURRENCY": "1", "THAW_MODELS": ""}, folder=tmp_path) as server:
        assert len(requests.get(f"{server.url}/models").json()["models"]) == 2
        (check,) = arguments("HEALTHCHECK")
        _, check = check.split("CMD ")
        port = server.url.rpartition(":")[2]
        _, *rest = yaml.safe_load(check)
        healthy = subprocess.run([sys.executable, *rest], env={**os.environ, "PORT": port})
        assert healthy.returncode == 0


def test_the_three_hosts_start_the_same():
    (service,) = yaml.safe_load((ROOT / "deploy" / "render.yaml").read_text())["services"]
    assert service["startCommand"] == START
    assert service["healthCheckPath"] == "/readyz"
    assert service["buildCommand"] == "pip install --requirement requirements-serve.txt"
    assert shlex.join(procfile_command()[2:]) == START
    assert " ".join(yaml.safe_load(arguments("CMD")[0])) == START


def test_the_serving_requirements_bring_no_training_framework():
    text = (ROOT / "requirements-serve.txt").read_text()
    assert "onnxruntime==" in text
    for name in ("tensorflow", "keras", "scikit-learn", "torch", "gradio"):
        assert not re.search(rf"^{name}\b", text, flags=re.MULTILINE)
