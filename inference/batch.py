"""Find image files and classify them one by one."""

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from inference import explain
from inference.classifier import Classifier, Prediction
from inference.decode import ImageError

MAX_PIXELS = 100_000_000  # more than a server's: the user trusts these files, and they are decoded one at a time
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"}
STDIN = "-"


@dataclass(frozen=True)
class FileResult:
    """The result for one file: a prediction or an error."""

    file: str
    prediction: Prediction | None = None
    error: str | None = None


def find_images(sources: Sequence[str]) -> list[str]:
    """Expand files, folders (searched recursively), globs and "-" to files, in order and without duplicates.

    A source that matches nothing is returned unchanged, so that reading it reports the error.
    """
    found: dict[str, None] = {}
    for source in sources:
        if source == STDIN or os.path.isfile(source):  # Path.is_file raises on long names, locked folders
            files = [source]
        elif os.path.isdir(source):
            inside = (path for path in Path(source).rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
            files = [str(path) for path in sorted(inside)]
        else:
            files = sorted(path for path in glob.glob(source, recursive=True) if os.path.isfile(path)) or [source]
        found.update(dict.fromkeys(files))
    return list(found)


def classify_files(
    classifier: Classifier, files: Sequence[str], top_k: int, heat_maps: Path | None = None
) -> Iterator[FileResult]:
    """Classify files one by one, "-" from standard input; a file that cannot be read gives a result with an error.

    `heat_maps` is the folder for the Grad-CAM heat map of each file's most probable class; None writes none.
    """
    names = heat_map_names(files)
    for file in files:
        try:
            data = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
            image = classifier.preprocess(data, max_pixels=MAX_PIXELS)
        except (ImageError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            yield FileResult(file, error=reason)
            continue
        (prediction,) = classifier.predict([image], top_k)
        if heat_maps is not None:
            explanation = classifier.explain(image)
            heat_maps.mkdir(parents=True, exist_ok=True)
            explain.overlay(explanation.image, explanation.heat, side=320).save(heat_maps / names[file])
        yield FileResult(file, prediction)


def heat_map_names(files: Sequence[str]) -> dict[str, str]:
    """Return each file's heat map name: its stem, preceded by its folders where several files have the same stem."""
    stems = {file: "stdin" if file == STDIN else Path(file).stem for file in files}
    counts = Counter(stems.values())
    names: dict[str, str] = {}
    taken = set()  # case-folded, because some file systems ignore case
    for file, stem in stems.items():
        if counts[stem] > 1 and file != STDIN:
            stem = os.path.splitext(file)[0].strip("./").replace(os.sep, "_") + Path(file).suffix.replace(".", "_")
        name, copies = stem, 1
        while name.casefold() in taken:  # such as a/cat.png and ../a/cat.png
            copies += 1
            name = f"{stem}_{copies}"
        taken.add(name.casefold())
        names[file] = f"{name}.png"
    return names
