"""predict.py: files, folders, globs, standard input; table, JSON lines, CSV; heat maps; what it does with bad files."""

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
from inference.classifier import load_classifier

ROOT = Path(__file__).parent.parent


@pytest.fixture
def pictures(tmp_path, saved_models, monkeypatch):
    """Three pictures, one of them in a folder inside, and a file that is none."""
    monkeypatch.setattr(
        predict, "open_model", lambda name, engine: load_classifier(saved_models / (name or "tiny_a"), engine)
    )
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    random = np.random.default_rng(0)
    for name in ("a.png", "b.png", "more/a.png"):
        Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def expected(pictures, saved_models):
    classifier = load_classifier(saved_models / "tiny_a")
    return {name: classifier.classify(pictures / name, 10) for name in ("a.png", "b.png", "more/a.png")}


def test_a_folder_is_answered_with_the_folders_inside_it(pictures, expected, capsys):
    assert predict.main([str(pictures)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [str(pictures / name) for name in sorted(expected)]
    for line, (_, prediction) in zip(lines, sorted(expected.items()), strict=True):
        label, probability = prediction.top[0]
        assert f"{label} {probability:6.1%}" in line


def test_a_glob_is_expanded_and_no_file_is_answered_twice(pictures, capsys):
    assert predict.main([str(pictures / "*.png"), str(pictures / "a.png"), "--top-k", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_json_lines(pictures, expected, capsys):
    assert predict.main([str(pictures / "a.png"), "--format", "jsonl", "--top-k", "2"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["file"] == str(pictures / "a.png")
    assert [each["label"] for each in row["predictions"]] == [label for label, _ in expected["a.png"].top[:2]]
    assert row["probabilities"] == pytest.approx(expected["a.png"].probabilities)
    assert row["in_distribution"] == pytest.approx(expected["a.png"].in_distribution)


@pytest.mark.parametrize("format_", ["table", "csv", "jsonl"])
def test_an_answer_that_is_not_to_be_trusted_says_so(tmp_path, saved_models, capsys, format_):
    photograph(6, 6).save(tmp_path / "tiny.png")
    model = str(saved_models / "tiny_b")
    assert predict.main([str(tmp_path / "tiny.png"), "--format", format_, "--model", model]) == 0
    assert "This picture has 6×6 pixels" in capsys.readouterr().out.replace("\\u00d7", "×")


def test_csv_has_a_column_for_errors_and_the_rest_goes_on(pictures, expected, capsys):
    files = [str(pictures / name) for name in ("a.png", "notes.txt", "b.png")]
    assert predict.main([*files, str(pictures / "gone.png"), "--format", "csv"]) == 1
    output = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(output.out)))
    assert [row["label_1"] for row in rows] == [expected["a.png"].top[0][0], "", expected["b.png"].top[0][0], ""]
    assert float(rows[0]["score_1"]) == pytest.approx(expected["a.png"].top[0][1], abs=1e-6)
    assert "must be a JPEG, PNG" in rows[1]["error"]
    assert rows[3]["error"] == "No such file or directory"
    assert "2 of 4 could not be answered" in output.err


def test_the_table_tells_errors_on_standard_error(pictures, capsys):
    assert predict.main([str(pictures / "notes.txt")]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "notes.txt" in output.err and "must be a JPEG, PNG" in output.err


def test_heat_maps_of_like_named_files_do_not_overwrite_each_other(pictures, tmp_path):
    assert predict.main([str(pictures), "--explain", str(tmp_path / "heat")]) == 0
    written = sorted((tmp_path / "heat").iterdir())
    assert len(written) == 3
    assert all(Image.open(path).size == (320, 320) for path in written)


def test_standard_input(pictures, expected, saved_models):
    command = [sys.executable, "predict.py", "-", "--model", str(saved_models / "tiny_a"), "--format", "jsonl"]
    run = subprocess.run(command, cwd=ROOT, input=(pictures / "b.png").read_bytes(), capture_output=True)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["probabilities"] == pytest.approx(expected["b.png"].probabilities)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--top-k", "11"], "top_k must be from 1 to 10. Received: top_k=11"),
        (["--model", "nonsense"], "nonsense is not the folder of a saved model"),
    ],
)
def test_what_cannot_be_done_is_told(pictures, arguments, message, capsys):
    assert predict.main([str(pictures / "a.png"), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_pictures_is_told(tmp_path, capsys):
    assert predict.main([str(tmp_path)]) == 2
    assert "there is no picture in" in capsys.readouterr().err


def test_a_wrong_top_k_is_told_before_anything_is_written(pictures, capsys):
    assert predict.main([str(pictures / "notes.txt"), "--top-k", "0", "--format", "csv"]) == 2
    assert capsys.readouterr().out == ""


def test_a_name_that_cannot_be_is_reported_and_the_rest_goes_on(pictures, capsys):
    names = ["a" * 300 + ".png", "", str(pictures / "a.png")]
    assert predict.main(names) == 1
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 1
    assert "File name too long" in output.err and "2 of 3 could not be answered" in output.err


def test_no_two_heat_maps_have_one_name():
    files = ["a/b.png", "../a/b.png", "c/b.png", "A/b.png", "-", "stdin.png", "alone.jpg"]
    names = predict.heat_map_names(files)
    assert len({name.lower() for name in names.values()}) == len(files)
    assert names["alone.jpg"] == "alone.png"
    assert not any("/" in name for name in names.values())


def run(*arguments, encoding="utf-8", **options):
    command = [sys.executable, "predict.py", *map(os.fsencode, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    environment["PYTHONIOENCODING"] = encoding
    return subprocess.run(command, cwd=ROOT, env=environment, **options)


@pytest.mark.parametrize("format_", ["table", "csv", "jsonl"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_that_the_output_has_no_characters_for(pictures, saved_models, format_, encoding):
    for name in ("ü猫😀.png".encode(), b"\xff.png"):
        shutil.copy(pictures / "a.png", os.path.join(os.fsencode(pictures), name))
    arguments = (pictures, "--model", saved_models / "tiny_a", "--format", format_)
    answered = run(*arguments, encoding=encoding, capture_output=True)
    assert answered.returncode == 0, answered.stderr
    lines = answered.stdout.decode(encoding).splitlines()
    assert len(lines) == 5 + (format_ == "csv")
    if format_ == "jsonl":
        files = {Path(json.loads(line)["file"]).name for line in lines}
        assert {"ü猫😀.png", os.fsdecode(b"\xff.png")} <= files


def test_an_output_that_nobody_reads_ends_it_in_silence(pictures, saved_models):
    reading, writing = os.pipe()
    os.close(reading)
    ended = run(pictures / "a.png", "--model", saved_models / "tiny_a", stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_an_output_that_is_full_is_told(pictures, saved_models):
    with open("/dev/full", "wb") as full:
        ended = run(pictures / "a.png", "--model", saved_models / "tiny_a", stdout=full, stderr=subprocess.PIPE)
    assert ended.returncode == 2
    assert ended.stderr.decode().splitlines() == ["predict.py: [Errno 28] No space left on device"]
