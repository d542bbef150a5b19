"""OOD data sets: two halves that share no image."""

import keras
import numpy as np
import pytest

from benchmarks.data import ood_datasets as module
from benchmarks.data.ood_datasets import ood_datasets


@pytest.fixture(scope="module")
def halves():
    return [ood_datasets(half) for half in ("choice", "report")]


def test_every_set_has_two_halves_that_share_no_image(halves):
    choice, report = halves
    assert list(choice) == list(report)
    assert {"far digits", "far faces", "far textures", "far pictures", "far noise"} == set(choice)
    for name, images in choice.items():
        seen = {(each.size, each.tobytes()) for each in images}
        assert len(images) >= 20 and len(seen) > 0.9 * len(images), name
        assert not seen & {(each.size, each.tobytes()) for each in report[name]}, name
        assert {each.mode for each in images} == {"RGB"}
        assert min(min(each.size) for each in images) >= 32, "no fewer pixels than the training images"
        assert np.mean([np.asarray(each).std() for each in images]) > 10, f"{name} is not blank"


def test_copies_of_other_data_sets_are_added(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)
    monkeypatch.setattr(keras.datasets.cifar100, "load_data", lambda: (None, (images, np.zeros((20, 1)))))
    monkeypatch.setattr(module, "CIFAR100_IMAGES", 4)
    labels = ["n02123045", *["n07749582"] * 9]  # a cat, lemons
    (tmp_path / "val").mkdir()
    lines = [f"val_{number}.JPEG\t{label}\t0\t0\t9\t9" for number, label in enumerate(labels)]
    (tmp_path / "val" / "val_annotations.txt").write_text("\n".join(lines))
    for kind in range(11):
        (tmp_path / "images" / f"kind{kind:02d}").mkdir(parents=True)
        (tmp_path / "images" / f"kind{kind:02d}" / "a.jpg").touch()
    choice, report = (ood_datasets(half, tmp_path, True, tmp_path) for half in ("choice", "report"))
    assert [np.asarray(each).tolist() for each in choice["near cifar100"]] == images[[0, 2]].tolist()
    names = [path.name for half in (choice, report) for path in half["near tiny_imagenet"]]
    assert sorted(names) == ["val_1.JPEG", "val_5.JPEG", "val_9.JPEG"], "every fourth that is no cat"
    assert len(choice["far dtd"]) + len(report["far dtd"]) == 10


def test_an_unknown_half_is_refused():
    with pytest.raises(ValueError, match="half='test'"):
        ood_datasets("test")
