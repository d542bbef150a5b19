"""Classify images with a saved model.

python predict.py cat.jpg truck.png                 print a table
python predict.py photos/ --top-k 1                 every image in a folder, searched recursively
python predict.py "photos/*.jpg" --format csv       a glob, for shells that do not expand it; CSV
python predict.py - < cat.jpg                       one image from standard input
python predict.py photos/ --explain heat/           also write a Grad-CAM heat map of each image
python predict.py photos/ --model runs/my-run       another model: a folder, or a name in saved_models/

Exit status: 0 all images classified, 1 some could not be read, 2 wrong option or no image, 130 interrupted, 141 broken pipe.
"""

import argparse
import logging
import os
import sys
from pathlib import Path

from inference.writers import WRITERS


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("sources", nargs="+", metavar="IMAGE", help="files, folders, globs, or - for one image from standard input")
    add("--top-k", type=int, default=3, metavar="K", help="number of classes to print (default: %(default)s)")
    add("--model", help="a name in saved_models/, or a model's folder (default: the best in saved_models/)")
    engines = ("auto", "onnxruntime", "keras")
    add("--engine", choices=engines, default="auto", help="what runs the model (default: %(default)s)")
    add("--format", choices=tuple(WRITERS), default="table", help="output format (default: %(default)s)")
    add("--explain", type=Path, metavar="DIR", help="folder for a Grad-CAM heat map of each image")
    return parser.parse_args(arguments)


def predict(options: argparse.Namespace) -> int:
    """Classify the images and return the exit status; wrong options raise ValueError or OSError."""
    # Imported here so that --help is fast.
    from inference.batch import classify_files, find_images
    from inference.model_store import open_classifier
    from runtime.progress import ProgressBar

    files = find_images(options.sources)
    if not files:
        print(f"predict.py: there is no image in {', '.join(options.sources)}.", file=sys.stderr)
        return 2
    classifier = open_classifier(options.model, options.engine)
    classes = len(classifier.card.labels)
    if not 1 <= options.top_k <= classes:  # checked before anything is written
        raise ValueError(f"top_k must be from 1 to {classes}. Received: top_k={options.top_k}")
    writer = WRITERS[options.format](files, options.top_k)
    failed = 0
    hidden = len(files) == 1 or sys.stdout.isatty()  # on a terminal the results show the progress
    with ProgressBar(total=len(files), unit=" images", disable=hidden) as bar:
        for result in classify_files(classifier, files, options.top_k, options.explain):
            writer.write(result)
            failed += result.prediction is None
            bar.update()
    sys.stdout.flush()
    if failed:
        print(f"{failed} of {len(files)} images could not be classified.", file=sys.stderr)
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = parse_arguments(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for stream in (sys.stdout, sys.stderr):
        if stream.errors == "strict":  # a file name may hold characters that the output's encoding lacks
            stream.reconfigure(errors="backslashreplace")
    try:
        return predict(options)
    except BrokenPipeError:
        status = 141  # what a shell reports for SIGPIPE
    except (ValueError, OSError) as error:  # ModelFileError and NotExplainableError among them
        print(f"predict.py: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        status = 130
    try:
        sys.stdout.flush()
    except OSError:  # else Python flushes again at exit and prints a traceback
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


if __name__ == "__main__":
    sys.exit(main())
