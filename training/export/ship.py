"""Put a finished run on the store: `python -m training.export.ship runs/NAME` copies its model to saved_models/.

The ONNX file is made anew and checked against `model.keras`, with what Grad-CAM needs where the model's head allows it.
"""

import argparse
import dataclasses
import logging
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from runtime.quiet import quiet

STORE = Path("saved_models")
LIMIT_MB = 120  # of all shipped models together
PARITY_IMAGES = 64


def ship(run: Path, name: str | None = None, store: Path = STORE) -> Path:
    """Copy a finished run's model, ONNX file, card and what tells other pictures to the store, and return their folder.

    Args:
        run: the folder of a finished run.
        name: the folder's name on the store; None for the network's.
        store: the folder of saved models.

    Raises:
        ModelFileError: if the run holds no model with a card, or its model is not the one that the card describes.
        OnnxExportError: if the model cannot be exported.
        ValueError: if the store would hold more than 120 MB, or the name is not one of a folder on it.
    """
    from models.saved.card import CARD_FILE, KERAS_FILE, ONNX_FILE, OOD_FILE, ModelFileError, model_file
    from runtime.files import sha256_of
    from training.data.cifar10 import load_cifar10
    from training.export.onnx_export import export_served
    from training.export.saved_model import load_saved, write_json

    saved = load_saved(run)
    if saved.card is None or saved.card.sha256.get(KERAS_FILE) != sha256_of(saved.file):
        raise ModelFileError(f"{run} holds no {KERAS_FILE} that a {CARD_FILE} describes: is the run finished?")
    target = store / (name or saved.card.name)
    if target.parent != store or target.name in ("", ".."):  # it is deleted before it is written
        raise ValueError(f"name must be that of a folder in {store}. Received: {name or saved.card.name!r}")
    with tempfile.TemporaryDirectory(dir=run) as folder:
        packed = Path(folder) / "packed"
        packed.mkdir()
        export_served(saved.model, packed / ONNX_FILE, load_cifar10().x_train[:PARITY_IMAGES])
        _compress(saved.file, packed / KERAS_FILE)
        if OOD_FILE in saved.card.sha256:
            statistics = model_file(run, OOD_FILE)
            if not statistics.is_file() or sha256_of(statistics) != saved.card.sha256[OOD_FILE]:
                raise ModelFileError(f"{statistics} is missing, or is not the file that {CARD_FILE} describes.")
            shutil.copy(statistics, packed / OOD_FILE)
        sums = {file.name: sha256_of(file) for file in sorted(packed.iterdir())}
        write_json(packed / CARD_FILE, dataclasses.replace(saved.card, sha256=sums).as_dict())
        _require_room(packed, target, store)
        # Nothing on the way, a full disk or a kill, costs the model that was there.
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
    return target


def _compress(source: Path, target: Path) -> None:
    """Copy a .keras file, which is a zip archive that Keras leaves uncompressed; weights shrink by a twelfth or so."""
    with zipfile.ZipFile(source) as stored, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))


def _require_room(packed: Path, target: Path, store: Path) -> None:
    """Raise ValueError where the store would hold more than its limit."""
    others = [path for path in store.rglob("*") if path.is_file() and target not in path.parents]
    size = sum(path.stat().st_size for path in (*others, *packed.iterdir())) / 1e6
    if size > LIMIT_MB:
        raise ValueError(f"{store} may hold at most {LIMIT_MB} MB, and with {target.name} would hold {size:.0f} MB.")


def main(arguments: list[str] | None = None) -> int:
    """Ship a run, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--name", help="of the folder in saved_models/ (default: the network's)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with quiet():
        import keras  # noqa: F401  # now, while what TensorFlow says at its import is held back
    try:
        print(f"Shipped: {ship(options.run, options.name)}")
    except (ValueError, OSError, RuntimeError) as error:
        print(f"ship: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
