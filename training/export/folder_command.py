"""The command line of `calibrate` and `ood`: do something to saved models, one folder after the other."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from training.data.cifar10 import load_cifar10
from training.data.dataset import ImageDataset


def for_each_folder(
    program: str, description: str, work: Callable[[Path, ImageDataset], str], arguments: list[str] | None = None
) -> int:
    """Call `work` for each folder on the command line, print the line that it returns, and return the exit status.

    Args:
        program: name that precedes an error.
        description: for `--help`.
        work: takes a saved model's folder and CIFAR-10; returns what it did.
        arguments: the command line; None for the process's own.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="folder of a saved model")
    options = parser.parse_args(arguments)
    try:
        dataset = load_cifar10()
        for folder in options.folders:
            print(f"{folder}: {work(folder, dataset)}")
    except (OSError, ValueError, RuntimeError) as error:  # ModelFileError and DataUnavailableError among them
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    return 0
