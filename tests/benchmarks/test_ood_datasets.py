"""OOD data sets: two halves that share no image."""

import keras
import numpy as np
import pytest
from PIL import Image

from benchmarks.data import ood_datasets as module
from benchmarks.data.ood_datasets import ood_datasets


@pytest.fixture(scope="module")
def halves():
    return [ood_datasets(half) for half in ("choice", "report")]


def test_every_set_has_two_halves_that_share_no_picture(halves):
    choice, report = halves
    assert list(choice) == list(report)
    assert {"far digits", "far faces", "far textures", "far pictures", "far noise"} == set(choice)
    for name, pictures in choice.items():
        seen = {(each.size, each.tobytes()) for each in pictures}
        assert len(pictures) >= 20 and len(seen) > 0.9 * len(pictures), name
        assert not seen & {(each.size, each.tobytes()) for each in report[name]}, name
        assert {each.mode for each in pictures} == {"RGB"}
        assert min(min(each.size) for each in pictures) >= 32, "no fewer pixels than the images that were learned from"
        assert np.mean([np.asarray(each).std() for each in pictures]) > 10, f"{name} is not blank"


def test_folders_add_sets(tmp_path):
    for name in ("near-cifar100", "far-stones", "photographs"):
        (tmp_path / name / "sub").mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / name / "sub" / f"{number}.png")
    choice, report = (ood_datasets(half, tmp_path) for half in ("choice", "report"))
    assert [path.stem for path in choice["near cifar100"]] == ["0", "2", "4"]
    assert [path.stem for path in report["far stones"]] == ["1", "3"]
    assert not any("photographs" in name for name in choice)
    (tmp_path / "far-stones" / "SOURCE.txt").write_text("\n")
    assert module.source_of("far stones", tmp_path) == module.source_of("far noise") == ""


def test_a_folder_without_data_sets_and_an_unknown_half_are_refused(tmp_path):
    with pytest.raises(ValueError, match="near-"):
        ood_datasets("choice", tmp_path)
    with pytest.raises(ValueError, match="half='test'"):
        ood_datasets("test")


def test_cifar100_becomes_a_set(tmp_path, monkeypatch, capsys):
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)
    monkeypatch.setattr(keras.datasets.cifar100, "load_data", lambda: (None, (images, np.zeros((20, 1)))))
    monkeypatch.setattr(module, "CIFAR100_IMAGES", 4)
    (tmp_path / ".partial-near-cifar100").mkdir()  # of an interrupted call
    assert module.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "near-cifar100")
    choice, report = (ood_datasets(half, tmp_path)["near cifar100"] for half in ("choice", "report"))
    assert module.source_of("near cifar100", tmp_path).startswith("the first 4 of CIFAR-100's test images")
    files = sorted([*choice, *report])
    assert len(files) == 4 and len(choice) == 2
    for file, image in zip(files, images[:4], strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(file)), image)


def test_copies_of_two_data_sets_become_sets(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "write_cifar100", lambda folder: folder / "near-cifar100")
    val, textures = tmp_path / "tiny" / "val", tmp_path / "dtd" / "images"
    (val / "images").mkdir(parents=True)
    labels = ["n02123045", *["n07749582"] * 9]  # a cat, lemons
    lines = [f"val_{number}.JPEG\t{label}\t0\t0\t9\t9" for number, label in enumerate(labels)]
    (val / "val_annotations.txt").write_text("\n".join(lines))
    for number in range(10):
        (val / "images" / f"val_{number}.JPEG").write_bytes(bytes([number]))
    for kind in range(11):
        (textures / f"kind{kind:02d}").mkdir(parents=True)
        (textures / f"kind{kind:02d}" / "a.jpg").write_bytes(bytes([kind]))
    command = [str(tmp_path / "sets"), "--tiny-imagenet", str(tmp_path / "tiny"), "--dtd", str(tmp_path / "dtd")]
    assert module.main(command) == 0
    sets = {half: ood_datasets(half, tmp_path / "sets") for half in ("choice", "report")}
    names = [path.name for half in sets.values() for path in half["near tiny_imagenet"]]
    assert sorted(names) == ["val_1.JPEG", "val_5.JPEG", "val_9.JPEG"], "every fourth that is no cat"
    assert sets["choice"]["far dtd"][0].read_bytes() == bytes([0])
    assert sum(len(half["far dtd"]) for half in sets.values()) == 10
    assert module.main([str(tmp_path / "sets"), "--dtd", str(tmp_path / "gone")]) == 1
    assert "ood_datasets: " in capsys.readouterr().err


def test_a_failed_download_is_reported_and_keeps_what_was_there(tmp_path, monkeypatch, capsys):
    def fail():
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.datasets.cifar100, "load_data", fail)
    (tmp_path / "near-cifar100").mkdir()
    assert module.main([str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert "URL fetch failure" in told and f"{tmp_path}/near-NAME" in told
    assert (tmp_path / "near-cifar100").is_dir()
