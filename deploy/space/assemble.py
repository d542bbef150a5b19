"""Assemble the folder of a Hugging Face Space: the demo, its models and nothing else.

python -m deploy.space.assemble                          build/space, with the models in saved_models/
python -m deploy.space.assemble --models runs --to DIR   with your own models

Create the Space once:        hf repos create USER/thaw --type space --sdk gradio
Upload it after each change:  hf upload USER/thaw build/space . --type space
"""

import argparse
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from inference.model_store import SAVED_MODELS
from models.saved.card import CARD_FILE, ONNX_FILE, OOD_FILE, ModelFileError, read_card

ROOT = Path(__file__).resolve().parent.parent.parent

# The files that the demo needs, as globs: no training, no API, no Keras.
FILES = (
    "LICENSE",
    "deploy/__init__.py",
    "deploy/demo*.py",
    "deploy/demo.css",
    "deploy/demo.js",
    "deploy/demo_about.md",
    "deploy/examples/*",
    "inference/*.py",
    "models/__init__.py",
    "models/saved/*.py",
    "runtime/*.py",
    "results/tables.json",
    "results/*.png",
)
RENAMED = {"gradio_app.py": "app.py", "deploy/space/README.md": "README.md"}

PACKAGES = ("filelock", "numpy", "onnxruntime", "pillow", "platformdirs", "tqdm")  # in addition to gradio
PINS = "requirements-serve.txt"

# The Hub accepts binary files through Git LFS only.
ATTRIBUTES = "".join(f"*.{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in ("onnx", "npz", "png", "jpg"))


def assemble(target: Path, saved_models: Path = SAVED_MODELS) -> list[Path]:
    """Write the Space's folder and return its files. Files of an earlier call are removed, except `.git`.

    Raises:
        ModelFileError: if no model has a card and an ONNX file, or an OOD detector is missing.
        FileExistsError: if the folder holds something other than a Space.
    """
    models = _models(saved_models)
    if target.exists():
        _clear(target)
    for name, file in (*_files(), *models):
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    (target / ".gitattributes").write_text(ATTRIBUTES, encoding="utf-8")
    (target / "requirements.txt").write_text(requirements(), encoding="utf-8")
    return sorted(path for path in target.rglob("*") if path.is_file() and ".git" not in path.relative_to(target).parts)


def requirements() -> str:
    """Return the Space's requirements: Gradio as pinned in its card, the rest as pinned for the API."""
    card = (ROOT / "deploy/space/README.md").read_text(encoding="utf-8")
    gradio = re.search(r"^sdk_version: (\S+)$", card, re.MULTILINE).group(1)
    pins = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / PINS).read_text(encoding="utf-8"), re.MULTILINE))
    return "".join(f"{name}=={version}\n" for name, version in [("gradio", gradio), *((p, pins[p]) for p in PACKAGES)])


def _files() -> Iterator[tuple[str, Path]]:
    for glob in FILES:
        for file in sorted(ROOT.glob(glob)):
            yield str(file.relative_to(ROOT)), file
    for original, name in RENAMED.items():
        yield name, ROOT / original


def _models(saved_models: Path) -> list[tuple[str, Path]]:
    folders = [card.parent for card in sorted(saved_models.glob(f"*/{CARD_FILE}"))]
    files = [
        (f"saved_models/{folder.name}/{name}", folder / name)
        for folder in folders
        if (folder / ONNX_FILE).is_file()
        for name in (CARD_FILE, ONNX_FILE, OOD_FILE)
        if (folder / name).is_file()
    ]
    if not files:
        raise ModelFileError(f"A Space needs a model with {CARD_FILE} and {ONNX_FILE}. Received: {saved_models}")
    for folder in folders:
        if OOD_FILE in read_card(folder / CARD_FILE).sha256 and not (folder / OOD_FILE).is_file():
            raise ModelFileError(f"{folder} lacks the {OOD_FILE} that its {CARD_FILE} lists.")
    return files


def _clear(target: Path) -> None:
    entries = [path for path in target.iterdir() if path.name != ".git"]
    card = target / "README.md"
    if entries and not (card.is_file() and "\nsdk: gradio\n" in card.read_text(encoding="utf-8")):
        raise FileExistsError(f"The target must be a new folder, an empty one or a Gradio Space. Received: {target}")
    for path in entries:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def main(arguments: list[str] | None = None) -> int:
    """Assemble the Space, list its files and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = ROOT / "build" / "space"
    parser.add_argument("--to", type=Path, default=target, help="folder to write (default: build/space)")
    parser.add_argument("--models", type=Path, default=SAVED_MODELS, help="folder of models (default: saved_models)")
    options = parser.parse_args(arguments)
    try:
        files = assemble(options.to, options.models)
    except (ModelFileError, OSError) as error:
        print(f"assemble.py: {error}", file=sys.stderr)
        return 1
    for file in files:
        print(f"{file.stat().st_size / 1024:10.1f} KB  {file.relative_to(options.to)}")
    print(f"{sum(file.stat().st_size for file in files) / 1e6:10.1f} MB  {options.to}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
