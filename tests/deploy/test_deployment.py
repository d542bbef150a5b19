"""What hosts read: the Dockerfile with its .dockerignore, Render's blueprint, the Procfile."""

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
HADOLINT = shutil.which("hadolint", path=Path(sys.executable).parent)


def arguments(instruction):
    """Return the arguments of each such instruction of the Dockerfile, continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", DOCKERFILE.read_text())
    return re.findall(rf"^{instruction} (.*)$", text, flags=re.MULTILINE)


def in_context(file):
    """Whether .dockerignore lets Docker see a file: of the patterns that match it or a folder above it, the last decides."""
    names = [file, *map(str, Path(file).parents)]
    seen = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        depth = None if line.startswith("**/") else pattern.count("/")
        if any(
            fnmatch.fnmatch(Path(name).name if depth is None else name, pattern) and depth in (None, name.count("/"))
            for name in names
        ):
            seen = line.startswith("!")
    return seen


@pytest.fixture(scope="module")
def image(saved_models, tmp_path_factory):
    """The image's work folder: what the Dockerfile copies of the context, with the tests' models."""
    folder = tmp_path_factory.mktemp("image")
    for source, target in map(str.split, arguments("COPY")):
        found = [ROOT / source] if (ROOT / source).is_file() else sorted((ROOT / source).rglob("*"))
        for file in found:
            name = str(file.relative_to(ROOT))
            if file.is_file() and in_context(name) and source != "saved_models":
                copy = folder / target / file.relative_to(ROOT / source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, copy)
    shutil.copytree(saved_models, folder / "saved_models")
    return folder


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_hadolint_finds_nothing():
    run = subprocess.run([HADOLINT, DOCKERFILE], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def test_the_image_does_not_run_as_root():
    names = re.findall(r"^([A-Z]+) ", DOCKERFILE.read_text(), flags=re.MULTILINE)
    assert arguments("USER") == ["1000"]
    assert names.index("USER") < names.index("CMD")


def test_the_context_holds_what_serving_imports_and_no_more(image):
    files = {str(path.relative_to(image)) for path in image.rglob("*.py")}
    assert {"models/__init__.py", "models/saved/card.py", "runtime/files.py", "deploy/api.py"} <= files
    assert not [
        name for name in files if re.match(r"models/(?!saved/|__init__)|deploy/(demo|space)|training|tests", name)
    ]
    assert in_context("saved_models/one/model.onnx")
    assert not in_context("saved_models/one/model.keras")


def test_the_image_serves(image):
    assert "pip install --no-cache-dir --requirement requirements-serve.txt" in arguments("RUN")
    command = [sys.executable, "-m", *yaml.safe_load(arguments("CMD")[0])]
    with ServerProcess(command, {"WEB_CONCURRENCY": "1", "THAW_MODELS": ""}, folder=image) as server:
        assert len(requests.get(f"{server.url}/models").json()["models"]) == 2
        _, check = arguments("HEALTHCHECK")[0].split("CMD ")
        port = server.url.rpartition(":")[2]
        healthy = subprocess.run([sys.executable, *yaml.safe_load(check)[1:]], env={**os.environ, "PORT": port})
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
    assert not re.search(r"^(tensorflow|keras|scikit-learn|torch|gradio)\b", text, flags=re.MULTILINE)
