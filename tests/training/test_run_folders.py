"""Folders of runs: names, and which run can be gone on from."""

import os

import pytest

from training.config import make_config
from training.run_folders import new_folder, unfinished_run


def test_names_do_not_collide_and_the_latest_unfinished_run_is_found(tiny_network, tmp_path):
    config = make_config("finetune", tiny_network, weights="none")
    with pytest.raises(FileNotFoundError, match="no unfinished run"):
        unfinished_run(tmp_path)
    first = new_folder(config, tmp_path)
    assert first.name == "tiny-reference-finetune-seed0"
    first.mkdir()
    (first / "checkpoint.npz").touch()
    second = new_folder(config, tmp_path)
    assert second.name == "tiny-reference-finetune-seed0-2"
    second.mkdir()
    (second / "checkpoint.npz").touch()
    os.utime(first / "checkpoint.npz", (1, 1))
    assert unfinished_run(tmp_path) == second
    (second / "metrics.json").write_text("{}")
    assert unfinished_run(tmp_path) == first
