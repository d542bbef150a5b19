"""A command that does something to saved models, one folder after the other."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from training.data.cifar10 import load_cifar10
from training.data.dataset import ImageDataset


def for_each_folder(
    program: str, description: str, work: Callable[[Path, ImageDataset], str], arguments: list[str] | None = None
) -> int:
    """Do `work` with each folder that the command line names, print what it says of it, and return the exit status.

    Args:
        program: the name that errors are told under.
        description: for `--help`.
        work: takes a saved model's folder and CIFAR-10, and returns a line about what it did.
        arguments: of the command line; None for the process's own.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of a saved model")
    options = parser.parse_args(arguments)
    try:
        dataset = load_cifar10()
        for folder in options.folders:
            print(f"{folder}: {work(folder, dataset)}")
    except (OSError, ValueError, RuntimeError) as error:  # ModelFileError and DataUnavailableError among them
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    return 0
