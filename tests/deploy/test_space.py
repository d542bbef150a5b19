"""The Space's folder: complete, minimal, and running without the rest of the project."""

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy.space import assemble
from models.saved.card import CARD_FILE, KERAS_FILE

COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}  # that the Hub knows

# Runs the Space as its host would, without what its host does not install.
SCRIPT = """
import sys
for name in ("tensorflow", "keras", "torch", "jax", "sklearn", "matplotlib", "flask", "onnx"):
    sys.modules[name] = None  # importing it fails
import app
from deploy import demo
from inference.model_store import SAVED_MODELS, ModelStore
store = ModelStore()
page = demo.build(store)
prediction = store.get().classify(next(demo.EXAMPLES.glob("*.jpg")))
print(sorted(store.cards), prediction.top[0][0], store.get().engine.name, SAVED_MODELS)
"""


@pytest.fixture(scope="module")
def space(saved_models, tmp_path_factory):
    target = tmp_path_factory.mktemp("build") / "space"
    assemble.assemble(target, saved_models)
    return target


def front_matter(readme: Path) -> dict:
    return yaml.safe_load(readme.read_text(encoding="utf-8").split("---\n")[1])


def test_the_space_runs_without_the_rest_of_the_project(space):
    pytest.importorskip("gradio", reason="gradio is not installed")
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=space, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "['tiny_a', 'tiny_b']" in done.stdout
    assert f"onnxruntime {space / 'saved_models'}" in done.stdout


def test_it_holds_nothing_that_the_demo_does_not_need(space):
    files = {str(path.relative_to(space)) for path in space.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {"LICENSE", ".gitattributes", "deploy/demo.css", "saved_models/tiny_a/ood.npz"} <= files
    assert not [
        name for name in files if re.match(r"models/(?!saved/|__init__)|deploy/(api|space)|training|tests", name)
    ]
    assert not [name for name in files if name.endswith(KERAS_FILE)]
    assert (space / "app.py").read_text() == (assemble.ROOT / "gradio_app.py").read_text()


def test_the_card_says_what_the_hub_reads(space):
    card = front_matter(space / "README.md")
    assert card["sdk"] == "gradio"
    assert (space / card["app_file"]).is_file()
    assert len(card["short_description"]) <= 60
    assert card["license"] == "mit"
    assert isinstance(card["python_version"], str)
    assert {"title", "emoji", "colorFrom", "colorTo", "datasets", "tags", "pinned"} <= set(card)
    assert {card["colorFrom"], card["colorTo"]} <= COLOURS


def test_it_installs_what_was_tested(space):
    pins = dict(line.split("==") for line in (space / "requirements.txt").read_text().splitlines())
    assert set(pins) == {"gradio", *assemble.PACKAGES}
    assert pins["gradio"] == front_matter(space / "README.md")["sdk_version"]
    assert pins["gradio"] == importlib.metadata.version("gradio")
    assert {name: importlib.metadata.version(name) for name in assemble.PACKAGES} == {
        name: version for name, version in pins.items() if name != "gradio"
    }


def test_a_second_time_leaves_nothing_old_and_keeps_git(saved_models, tmp_path):
    assemble.assemble(tmp_path, saved_models)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref")
    (tmp_path / "deploy" / "old.py").write_text("")
    (tmp_path / "old.txt").write_text("")
    files = assemble.assemble(tmp_path, saved_models)
    assert list(tmp_path.rglob("old.*")) == []
    assert (tmp_path / ".git" / "HEAD").read_text() == "ref"
    assert tmp_path / ".git" / "HEAD" not in files


def test_a_folder_of_something_else_is_left_alone(saved_models, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert assemble.main(["--to", str(tmp_path), "--models", str(saved_models)]) == 1
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    assert f"Received: {tmp_path}" in capsys.readouterr().err


def test_models_without_an_onnx_file_are_a_clear_error(tmp_path, capsys):
    (tmp_path / "models" / "one").mkdir(parents=True)
    (tmp_path / "models" / "one" / CARD_FILE).write_text(json.dumps({}))
    assert assemble.main(["--to", str(tmp_path / "space"), "--models", str(tmp_path / "models")]) == 1
    assert "model.onnx" in capsys.readouterr().err
    assert not (tmp_path / "space").exists()


def test_the_command_lists_what_it_wrote(saved_models, tmp_path, capsys):
    assert assemble.main(["--to", str(tmp_path / "space"), "--models", str(saved_models)]) == 0
    assert "saved_models/tiny_a/model.onnx" in capsys.readouterr().out
