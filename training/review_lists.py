"""Test images of CIFAR-10 that others found doubtful: their lists are fetched from where their authors keep them."""

import csv
import json
from pathlib import Path
from typing import Any

from training.remote_files import RemoteFile

_GITHUB = "https://raw.githubusercontent.com"
NEAR_DUPLICATES = RemoteFile(
    f"{_GITHUB}/cvjena/cifair/4c2764277f5fda8fec6784a78c1818eab13236c5/meta/duplicates_cifar10.csv",
    "4cb7e99a7dfff346082c9d8fa4c2989a196e4a37d1e58f75936046696f1ba6a4",
    "review/duplicates_cifar10.csv",
)
REVIEWED_LABELS = RemoteFile(
    f"{_GITHUB}/cleanlab/label-errors/6d5d6b31a13216290afc40e5c6319399c4d15c06/mturk/cifar10_mturk.json",
    "81b2c16c9eee060d6cc2390f6bbce1e0e7be0a050574be5177c9428f3596b5b5",
    "review/cifar10_mturk.json",
)
CONFIRMED = 3  # of five reviewers


def fetch_review() -> dict[str, dict[str, Any]]:
    """Return each list by its name: `what` it is, its `source`, and `images`, indices of test images in rising order.

    Raises:
        FileUnavailableError: a list can neither be found in the cache nor downloaded.
    """
    return {
        "near_duplicates": {
            "what": "Test images of which the training set holds the same shot or one that can hardly be told apart, as "
            "judged by hand.",
            "source": "ciFAIR, meta/duplicates_cifar10.csv, https://github.com/cvjena/cifair; Barz and Denzler 2020, arXiv "
            "1902.00423",
            "images": near_duplicates(NEAR_DUPLICATES.fetch()),
        },
        "unconfirmed_labels": {
            "what": f"Test images whose label fewer than {CONFIRMED} of 5 reviewers confirmed, among the 275 that confident "
            "learning doubted.",
            "source": "mturk/cifar10_mturk.json, https://github.com/cleanlab/label-errors; Northcutt, Athalye and Mueller "
            "2021, arXiv 2103.14749",
            "images": unconfirmed_labels(REVIEWED_LABELS.fetch()),
        },
    }  # fmt: skip


def near_duplicates(path: Path) -> list[int]:
    """Return the test images in ciFAIR's table, whose columns are TestID, TrainID, Distance and Judgment."""
    with open(path, encoding="utf-8", newline="") as file:
        return sorted({int(row["TestID"]) for row in csv.DictReader(file)})


def unconfirmed_labels(path: Path) -> list[int]:
    """Return the test images of whose label too few of cleanlab's reviewers said that it was the given one alone."""
    reviewed = json.loads(path.read_text(encoding="utf-8"))
    return sorted(row["id"] for row in reviewed if row["mturk"]["given"] < CONFIRMED)
