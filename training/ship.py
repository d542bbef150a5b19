"""Ship a finished run: copy its model to `saved_models/`, where `predict.py`, the API and the demo find it.

python -m training.ship runs/my-run                  under the network's name
python -m training.ship runs/my-run --name cats      under another name
"""

import argparse
import dataclasses
import logging
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from models.saved.card import CARD_FILE, KERAS_FILE, ONNX_FILE, OOD_FILE, ModelFileError, model_file
from runtime.files import sha256_of
from runtime.quiet import quiet

with quiet():
    from training.data.cifar10 import load_cifar10
    from training.export.onnx_export import export_served
    from training.export.saved_model import SavedModel, load_saved, write_json

STORE = Path("saved_models")
LIMIT_MB = 120  # of all shipped models together
PARITY_IMAGES = 64


def ship(run: Path, name: str | None = None, store: Path = STORE) -> Path:
    """Copy a finished run's model, card and OOD detector to the model store, under `name` or the network's name.

    The ONNX file is exported again and checked against `model.keras`.

    Raises:
        ModelFileError: the run holds no model with a card, or a file does not have the card's checksum.
        OnnxExportError: the model cannot be exported.
        ValueError: the store would exceed 120 MB, or `name` is not a plain folder name.
    """
    saved = load_saved(run)
    if saved.card is None or saved.card.sha256.get(KERAS_FILE) != sha256_of(saved.file):
        raise ModelFileError(f"{run} holds no {KERAS_FILE} that a {CARD_FILE} describes: is the run finished?")
    target = store / (name or saved.card.name)
    if target.parent != store or target.name in ("", ".."):  # the target folder is replaced
        raise ValueError(f"name must be that of a folder in {store}. Received: {name or saved.card.name!r}")
    with tempfile.TemporaryDirectory(dir=run) as folder:
        packed = Path(folder) / "packed"  # the temporary folder has private permissions, which a copy would keep
        packed.mkdir()
        _pack(run, saved, packed)
        _require_room(packed, target, store)
        _replace(packed, target)
    return target


def _pack(run: Path, saved: SavedModel, packed: Path) -> None:
    export_served(saved.model, packed / ONNX_FILE, load_cifar10().x_train[:PARITY_IMAGES])
    with zipfile.ZipFile(saved.file) as stored, zipfile.ZipFile(packed / KERAS_FILE, "w", zipfile.ZIP_DEFLATED) as new:
        for name in stored.namelist():  # Keras does not compress the archive; this saves about a twelfth
            new.writestr(name, stored.read(name))
    if OOD_FILE in saved.card.sha256:
        ood_file = model_file(run, OOD_FILE)
        if not ood_file.is_file() or sha256_of(ood_file) != saved.card.sha256[OOD_FILE]:
            raise ModelFileError(f"{ood_file} is missing, or is not the file that {CARD_FILE} describes.")
        shutil.copy(ood_file, packed / OOD_FILE)
    sums = {file.name: sha256_of(file) for file in sorted(packed.iterdir())}
    write_json(packed / CARD_FILE, dataclasses.replace(saved.card, sha256=sums).as_dict())


def _require_room(packed: Path, target: Path, store: Path) -> None:
    others = [path for path in store.rglob("*") if path.is_file() and target not in path.parents]
    size = sum(path.stat().st_size for path in (*others, *packed.iterdir())) / 1e6
    if size > LIMIT_MB:
        raise ValueError(f"{store} may hold at most {LIMIT_MB} MB, and with {target.name} would hold {size:.0f} MB.")


def _replace(packed: Path, target: Path) -> None:
    """Replace the folder `target` by a copy of `packed`; a failure keeps the old folder."""
    arriving, leaving = (target.with_name(f".{word}-{target.name}") for word in ("partial", "old"))
    try:
        shutil.copytree(packed, arriving, dirs_exist_ok=True)
        if target.exists():
            target.rename(leaving)
        arriving.rename(target)
    finally:
        if leaving.exists() and not target.exists():
            leaving.rename(target)
        for left in (arriving, leaving):
            shutil.rmtree(left, ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--name", help="name of the folder in saved_models/ (default: the network's)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        print(f"Shipped: {ship(options.run, options.name)}")
    except (ValueError, OSError, RuntimeError) as error:
        print(f"ship: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
