"""The layout of the repository: imports go one way, files and folders stay small, an installation adds no package."""

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
VERBS = ("train.py", "evaluate.py", "predict.py", "gradio_app.py")
MAY_IMPORT = {  # what each folder may import of this repository
    "runtime": ("runtime",),
    "models/saved": ("runtime", "models.saved"),
    "models": ("runtime", "models"),
    "inference": ("runtime", "models.saved", "inference"),
    "training": ("runtime", "models", "training"),
    "deploy": ("runtime", "models.saved", "inference", "deploy"),
}
EXCEPTIONS = {  # imported inside a function that nothing else calls
    ("inference/engines.py", "models.grad_cam"),  # KerasEngine, for a folder without model.onnx
    ("inference/engines.py", "models.registry"),
}
PACKAGES = {"runtime", "models", "training", "inference", "deploy", "benchmarks", "tests"}
OURS = PACKAGES | {"train", "evaluate", "predict", "gradio_app", "benchmark"}
LONG_FILES: dict[str, str] = {}  # path of a file above 300 lines → why it is that long


def python_files(folder: str) -> list[Path]:
    """Return the Python files in a folder and its subfolders."""
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def imported(path: Path) -> set[str]:
    """Return the names of this repository's modules that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import."
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.partition(".")[0] in OURS}


def forbidden(path: Path, allowed: tuple[str, ...]) -> set[str]:
    """Return the imports of a file that are in none of the allowed packages."""
    return {name for name in imported(path) if not any(f"{name}.".startswith(f"{package}.") for package in allowed)}


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_go_one_way(folder):
    files = python_files(folder)
    assert len(files) >= 5
    for path in files:
        place = path.relative_to(ROOT).as_posix()
        excused = {name for file, name in EXCEPTIONS if file == place}
        found = {name for name in forbidden(path, MAY_IMPORT[folder]) if name.rpartition(".")[0] not in excused}
        assert not found, place


def test_only_tests_and_benchmark_py_import_benchmarks():
    for verb in VERBS:
        assert not {name for name in imported(ROOT / verb) if name.partition(".")[0] in ("benchmarks", "benchmark")}, (
            verb
        )


@pytest.mark.parametrize("line", ["from training.run import Run", "import training.run", "from training import run"])
def test_an_import_inside_a_function_is_found(tmp_path, line):
    (tmp_path / "breach.py").write_text(f"def f():\n    {line}\n")
    assert forbidden(tmp_path / "breach.py", MAY_IMPORT["models"])


def test_files_are_at_most_300_lines():
    files = [path for folder in (*MAY_IMPORT, "benchmarks") for path in python_files(folder)]
    files += [ROOT / verb for verb in (*VERBS, "benchmark.py")]
    long = {path.relative_to(ROOT).as_posix() for path in files if len(path.read_text().splitlines()) > 300}
    assert long == set(LONG_FILES)


def test_folders_hold_at_most_16_modules():
    folders = {path.parent for folder in (*MAY_IMPORT, "benchmarks") for path in python_files(folder)}
    for folder in folders:
        assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= 16, folder
    assert len([path for path in python_files("training") if path.name != "__init__.py"]) <= 40


def test_an_installation_adds_no_package(tmp_path):
    pytest.importorskip("setuptools", minversion="77")
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    for name in ("pyproject.toml", "README.md", "LICENSE", *VERBS):
        shutil.copy(ROOT / name, tmp_path)
    code = "from setuptools import build_meta; build_meta.build_wheel('.')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    top = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert len(top) == 1 and top.pop().endswith(".dist-info")
