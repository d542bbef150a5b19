"""One file per experiment that stands behind a number in README, report or demo."""
