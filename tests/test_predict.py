"""predict.py: files, folders, globs, standard input; table, JSON lines, CSV; heat maps; files that cannot be read."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from image_files import photograph
from PIL import Image

import predict
from inference.batch import heat_map_names
from inference.classifier import load_classifier

ROOT = Path(__file__).parent.parent
NAMES = ("a.png", "b.png", "more/a.png")


@pytest.fixture(scope="module")
def model(saved_models):
    return str(saved_models / "tiny_a")


@pytest.fixture
def pictures(tmp_path):
    """Three images, one of them in a subfolder, and a text file."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    random = np.random.default_rng(0)
    for name in NAMES:
        Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def expected(pictures, model):
    classifier = load_classifier(model)
    return {name: classifier.classify(pictures / name, 10) for name in NAMES}


def test_a_folder_is_searched_recursively_and_shown_as_a_table(pictures, expected, model, capsys):
    assert predict.main([str(pictures), "--model", model]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [str(pictures / name) for name in NAMES]
    for line, name in zip(lines, NAMES, strict=True):
        label, probability = expected[name].top[0]
        assert f"{label} {probability:6.1%}" in line


def test_a_glob_is_expanded_and_no_file_is_classified_twice(pictures, model, capsys):
    assert predict.main([str(pictures / "*.png"), str(pictures / "a.png"), "--model", model]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_json_lines(pictures, expected, model, capsys):
    assert predict.main([str(pictures / "a.png"), "--format", "jsonl", "--top-k", "2", "--model", model]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["file"] == str(pictures / "a.png")
    assert [each["label"] for each in row["predictions"]] == [label for label, _ in expected["a.png"].top[:2]]
    assert row["probabilities"] == pytest.approx(expected["a.png"].probabilities)
    assert row["in_distribution"] == pytest.approx(expected["a.png"].in_distribution)


@pytest.mark.parametrize("format_", ["table", "csv", "jsonl"])
def test_every_format_shows_the_warning(tmp_path, saved_models, capsys, format_):
    photograph(6, 6).save(tmp_path / "small.png")
    arguments = [str(tmp_path / "small.png"), "--format", format_, "--model", str(saved_models / "tiny_b")]
    assert predict.main(arguments) == 0
    assert "6×6" in capsys.readouterr().out.replace("\\u00d7", "×")


def test_csv_has_a_column_for_errors_and_a_row_for_each_file(pictures, expected, model, capsys):
    files = [str(pictures / name) for name in ("a.png", "notes.txt", "b.png", "missing.png")]
    assert predict.main([*files, "--format", "csv", "--model", model]) == 1
    output = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(output.out)))
    assert [row["label_1"] for row in rows] == [expected["a.png"].top[0][0], "", expected["b.png"].top[0][0], ""]
    assert float(rows[0]["score_1"]) == pytest.approx(expected["a.png"].top[0][1], abs=1e-6)
    assert "JPEG" in rows[1]["error"]
    assert rows[3]["error"]
    assert "2 of 4" in output.err


def test_the_table_reports_errors_on_standard_error(pictures, model, capsys):
    names = ["a" * 300 + ".png", "", str(pictures / "notes.txt"), str(pictures / "a.png")]
    assert predict.main([*names, "--model", model]) == 1
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 1
    assert "notes.txt" in output.err and "3 of 4" in output.err


def test_files_with_the_same_name_get_different_heat_maps(pictures, model, tmp_path):
    assert predict.main([str(pictures), "--explain", str(tmp_path / "heat"), "--model", model]) == 0
    written = list((tmp_path / "heat").iterdir())
    assert len(written) == 3
    assert all(Image.open(path).size == (320, 320) for path in written)


def test_heat_map_names_are_unique():
    files = ["a/b.png", "../a/b.png", "c/b.png", "A/b.png", "-", "stdin.png", "alone.jpg"]
    names = heat_map_names(files)
    assert len({name.lower() for name in names.values()}) == len(files)
    assert names["alone.jpg"] == "alone.png"
    assert not any("/" in name for name in names.values())


@pytest.mark.parametrize("top_k", ["0", "11"])
def test_a_wrong_top_k_is_an_error_before_any_output(pictures, model, top_k, capsys):
    assert predict.main([str(pictures / "a.png"), "--top-k", top_k, "--format", "csv", "--model", model]) == 2
    output = capsys.readouterr()
    assert f"top_k={top_k}" in output.err and output.out == ""


def test_an_unknown_model_and_a_folder_without_images_are_errors(pictures, tmp_path, capsys):
    assert predict.main([str(pictures / "a.png"), "--model", "nonsense"]) == 2
    assert "'nonsense'" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert predict.main([str(tmp_path / "empty")]) == 2
    assert "empty" in capsys.readouterr().err


def run(*arguments, encoding="utf-8", **options):
    command = [sys.executable, "predict.py", *map(os.fsencode, arguments)]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUNBUFFERED": ""}  # empty: buffered
    return subprocess.run(command, cwd=ROOT, env=environment, **options)


def test_standard_input(pictures, expected, model):
    data = (pictures / "b.png").read_bytes()
    done = run("-", "--model", model, "--format", "jsonl", input=data, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["probabilities"] == pytest.approx(expected["b.png"].probabilities)


@pytest.mark.parametrize(("encoding", "format_"), [("utf-8", "jsonl"), ("ascii", "csv"), ("ascii", "table")])
def test_file_names_that_the_output_cannot_encode(pictures, model, format_, encoding):
    for name in ("ü猫😀.png".encode(), b"\xff.png"):
        shutil.copy(pictures / "a.png", os.path.join(os.fsencode(pictures), name))
    done = run(pictures, "--model", model, "--format", format_, encoding=encoding, capture_output=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode(encoding).splitlines()
    assert len(lines) == 5 + (format_ == "csv")
    if format_ == "jsonl":
        files = {Path(json.loads(line)["file"]).name for line in lines}
        assert {"ü猫😀.png", os.fsdecode(b"\xff.png")} <= files


def test_a_broken_pipe_ends_the_command_silently(pictures, model):
    reading, writing = os.pipe()
    os.close(reading)
    done = run(pictures / "a.png", "--model", model, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_an_error(pictures, model):
    with open("/dev/full", "wb") as full:
        done = run(pictures / "a.png", "--model", model, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and b"Errno 28" in done.stderr
