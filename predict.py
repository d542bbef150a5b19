"""Classify pictures with a saved model.

python predict.py cat.jpg truck.png                 a table
python predict.py photos/ --top-k 1                 every picture in a folder and the folders inside it
python predict.py "photos/*.jpg" --format csv       a glob, for shells that do not expand it; CSV
python predict.py - < cat.jpg                       the bytes of one picture from standard input
python predict.py photos/ --explain heat/           also a picture of where the model looked, for each
python predict.py photos/ --model runs/my-run       another model: a folder, or a name in saved_models/

Exit status: 0 every picture was answered, 1 some could not be read (they are reported, the rest go on), 2 nothing to do,
130 interrupted, 141 nobody reads the output any more, as behind `| head`.
"""

import argparse
import csv
import glob
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference.classifier import Classifier, Prediction

MAX_PIXELS = 100_000_000  # one's own pictures, one at a time: more than a server allows
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"}
STDIN = "-"


@dataclass(frozen=True)
class Answer:
    """What came of one picture: a prediction or an error, never both."""

    file: str
    prediction: "Prediction | None" = None
    error: str | None = None


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("sources", nargs="+", metavar="PICTURE", help="files, folders, globs, or - for one picture from standard input")
    add("--top-k", type=int, default=3, metavar="K", help="how many classes to name (default: %(default)s)")
    add("--model", help="a name in saved_models/, or a model's folder (default: the best in saved_models/)")
    add(
        "--engine", choices=("auto", "onnxruntime", "keras"), default="auto", help="what runs it (default: %(default)s)"
    )
    add("--format", choices=("table", "jsonl", "csv"), default="table", help="of the output (default: %(default)s)")
    add("--explain", type=Path, metavar="DIR", help="write a Grad-CAM picture of each there")
    return parser.parse_args(arguments)


def find(sources: list[str]) -> list[str]:
    """Return the files that the sources mean, in their order and each once.

    A source that is no file, folder or matching glob is returned as it is: reading it will say what is wrong with it.
    """
    found: dict[str, None] = {}
    for source in sources:
        if source == STDIN or os.path.isfile(source):  # pathlib's raises where a name is too long or a folder is locked
            files = [source]
        elif os.path.isdir(source):
            inside = (path for path in Path(source).rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
            files = [str(path) for path in sorted(inside)]
        else:
            files = sorted(path for path in glob.glob(source, recursive=True) if os.path.isfile(path)) or [source]
        found.update(dict.fromkeys(files))
    return list(found)


def open_model(name: str | None, engine: str) -> "Classifier":
    """Load a model by its folder or by its name in saved_models/."""
    from inference.classifier import load_classifier
    from inference.model_store import ModelStore

    if name is not None and Path(name).is_dir():
        return load_classifier(name, engine)
    return ModelStore(engine=engine).get(name)


def answers(classifier: "Classifier", files: list[str], top_k: int, explain: Path | None) -> Iterator[Answer]:
    """Answer the files one by one; what cannot be read becomes an error and the rest go on."""
    from inference.images import ImageError

    names = heat_map_names(files)
    for file in files:
        try:
            data = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
            view = classifier.preprocess(data, max_pixels=MAX_PIXELS)
        except (ImageError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            yield Answer(file, error=reason)
            continue
        (prediction,) = classifier.predict([view], top_k)
        if explain is not None:
            write_heat_map(classifier, view, explain / names[file])
        yield Answer(file, prediction)


def heat_map_names(files: list[str]) -> dict[str, str]:
    """Return the name of each file's heat map: the file's own, with its folders where another file has the same."""
    stems = {file: "stdin" if file == STDIN else Path(file).stem for file in files}
    alike = Counter(stems.values())
    names: dict[str, str] = {}
    taken = set()  # without regard to case, as some file systems are
    for file, stem in stems.items():
        if alike[stem] > 1 and file != STDIN:
            stem = os.path.splitext(file)[0].strip("./").replace(os.sep, "_") + Path(file).suffix.replace(".", "_")
        name, copies = stem, 1
        while name.casefold() in taken:  # as of a/cat.png and ../a/cat.png
            copies += 1
            name = f"{stem}_{copies}"
        taken.add(name.casefold())
        names[file] = f"{name}.png"
    return names


def write_heat_map(classifier: "Classifier", view, path: Path) -> None:
    """Write a picture of where the model looked for its first answer."""
    from inference import explain

    explanation = classifier.explain(view)
    path.parent.mkdir(parents=True, exist_ok=True)
    explain.overlay(explanation.view, explanation.heat, side=320).save(path)


class Table:
    """A line a picture: its name, the classes with their probabilities, and what speaks against the answer."""

    def __init__(self, files: list[str], top_k: int):
        self.width = min(60, max((len(file) for file in files), default=0))

    def write(self, answer: Answer) -> None:
        """Print an answer; errors go to standard error."""
        if answer.prediction is None:
            print(f"{answer.file:{self.width}}  error: {answer.error}", file=sys.stderr)
        else:
            cells = (f"{label} {probability:6.1%}" for label, probability in answer.prediction.top)
            warning = f"   ! {answer.prediction.warning}" if answer.prediction.warning else ""
            print(f"{answer.file:{self.width}}  {'   '.join(cells)}{warning}")


class JsonLines:
    """A JSON object a picture: `file`, and an answer as of the API (`predictions`, `probabilities` …), or `error`."""

    def __init__(self, files: list[str], top_k: int):
        pass

    def write(self, answer: Answer) -> None:
        """Print an answer."""
        row: dict = {"file": answer.file}
        if answer.prediction is None:
            row["error"] = answer.error
        else:
            row |= answer.prediction.as_dict()
        print(json.dumps(row))  # in ASCII, so that any terminal and any file name will do


class Csv:
    """A row a picture: file, label_1, score_1, … label_k, score_k, in_distribution, warning, error."""

    def __init__(self, files: list[str], top_k: int):
        self.top_k = top_k
        self.writer = csv.writer(sys.stdout, lineterminator="\n")
        pairs = [f"{name}_{place}" for place in range(1, top_k + 1) for name in ("label", "score")]
        self.writer.writerow(["file", *pairs, "in_distribution", "warning", "error"])

    def write(self, answer: Answer) -> None:
        """Print an answer."""
        cells = [""] * (2 * self.top_k + 2)
        if answer.prediction is not None:
            near = answer.prediction.in_distribution
            cells = [value for label, score in answer.prediction.top for value in (label, f"{score:.6f}")]
            cells += ["" if near is None else f"{near:.6f}", answer.prediction.warning]
        self.writer.writerow([answer.file, *cells, answer.error or ""])


FORMATS = {"table": Table, "jsonl": JsonLines, "csv": Csv}


def answer_all(options: argparse.Namespace) -> int:
    """Answer the pictures, and return the exit status.

    Raises:
        ModelFileError, NotExplainableError, ValueError, OSError: if the pictures cannot be answered with these options.
    """
    # Here, not above: --help and a wrong option should answer at once.
    from tqdm import tqdm

    files = find(options.sources)
    if not files:
        print(f"predict.py: there is no picture in {', '.join(options.sources)}.", file=sys.stderr)
        return 2
    classifier = open_model(options.model, options.engine)
    classes = len(classifier.card.labels)
    if not 1 <= options.top_k <= classes:  # before CSV's head is written, and whether or not a picture can be read
        raise ValueError(f"top_k must be from 1 to {classes}. Received: top_k={options.top_k}")
    writer = FORMATS[options.format](files, options.top_k)
    hidden = None if len(files) > 1 and not sys.stdout.isatty() else True
    failed = 0
    with tqdm(total=len(files), unit=" pictures", disable=hidden) as bar:
        for answer in answers(classifier, files, options.top_k, options.explain):
            writer.write(answer)
            failed += answer.prediction is None
            bar.update()
    sys.stdout.flush()
    if failed:
        print(f"{failed} of {len(files)} could not be answered.", file=sys.stderr)
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    """Answer the pictures, and return the exit status: as above."""
    options = parse_arguments(arguments)
    for stream in (sys.stdout, sys.stderr):
        if stream.errors == "strict":  # a file's name may be of characters that the output has not
            stream.reconfigure(errors="backslashreplace")
    try:
        return answer_all(options)
    except BrokenPipeError:
        status = 141  # what a shell reports of a program that SIGPIPE ended
    except (ValueError, OSError) as error:  # ModelFileError and NotExplainableError among them
        print(f"predict.py: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        status = 130
    try:
        sys.stdout.flush()
    except OSError:  # Python would try once more at its end, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


if __name__ == "__main__":
    sys.exit(main())
