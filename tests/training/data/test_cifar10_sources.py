"""The formats and places of CIFAR-10, each on stand-ins of a few images in the real format."""

import os
import pickle
import socket
import tarfile
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from training.data import cifar10_sources
from training.data.cifar10_sources import ARRAYS, BATCHES, from_keras, read_named


def assert_right(received: dict[str, np.ndarray], standin) -> None:
    assert set(received) == set(ARRAYS)
    for name in ARRAYS:
        assert np.array_equal(received[name], standin.arrays[name])


@pytest.mark.parametrize("named", ["cifar-10-python.tar.gz", "cifar-10-batches-py", ".", "arrays.npz"])
def test_every_format_gives_the_same_arrays(standin, named):
    assert_right(read_named(standin.root / named), standin)


def test_a_folder_that_holds_only_the_archive_is_read(standin, tmp_path):
    os.link(standin.root / "cifar-10-python.tar.gz", tmp_path / "cifar-10-python.tar.gz")
    assert_right(read_named(tmp_path), standin)


def test_batches_pickled_by_python_3_are_read(standin, tmp_path):
    for name in BATCHES:
        with open(standin.root / "cifar-10-batches-py" / name, "rb") as file:
            batch = pickle.load(file, encoding="bytes")
        (tmp_path / name).write_bytes(pickle.dumps(batch))
    assert_right(read_named(tmp_path), standin)


@pytest.mark.parametrize("keep", [0, 10, 5000, -100, -1])
@pytest.mark.parametrize("name", ["cifar-10-python.tar.gz", "arrays.npz"])
def test_a_truncated_file_is_an_error(standin, tmp_path, name, keep):
    (tmp_path / name).write_bytes((standin.root / name).read_bytes()[:keep])
    with pytest.raises(Exception, match=r".+"):  # of the format's reader
        read_named(tmp_path / name)


def test_what_is_missing_is_named(standin, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_named(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="cifar-10-batches-py"):
        read_named(tmp_path)
    (tmp_path / "data_batch_2").write_bytes((standin.root / "cifar-10-batches-py" / "data_batch_2").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"Missing: data_batch_1, data_batch_3, .*test_batch"):
        read_named(tmp_path)
    np.savez(tmp_path / "part.npz", x_train=standin.arrays["x_train"], y_train=standin.arrays["y_train"])
    with pytest.raises(ValueError, match="Missing: x_test, y_test"):
        read_named(tmp_path / "part.npz")
    (tmp_path / "notes.txt").write_text("no archive")
    with pytest.raises(ValueError, match=r"\.npz"):
        read_named(tmp_path / "notes.txt")


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("packed", ["folder", "archive", "npz"])
@pytest.mark.parametrize("protocol", [2, 5])
def test_a_malicious_pickle_executes_nothing(tmp_path, packed, protocol):
    mark, folder = tmp_path / "executed", tmp_path / "cifar-10-batches-py"
    pickle.loads(pickle.dumps(Bomb(mark)))
    mark.rmdir()  # the pickle is malicious
    folder.mkdir()
    for name in BATCHES:
        (folder / name).write_bytes(pickle.dumps({"data": Bomb(mark), "labels": []}, protocol))
    with tarfile.open(tmp_path / "archive", "w:gz") as archive:
        archive.add(folder, folder.name)
    np.savez(tmp_path / "arrays.npz", **dict.fromkeys(ARRAYS, np.array([Bomb(mark)], dtype=object)))
    named = {"folder": folder, "archive": tmp_path / "archive", "npz": tmp_path / "arrays.npz"}[packed]
    with pytest.raises(Exception, match=r"arrays only. Received: (posix|nt).mkdir|allow_pickle=False"):
        read_named(named)
    assert not mark.exists()


def test_the_official_download_with_channels_first(standin, use_keras, capsys):
    def load_data():
        print("a progress bar")
        x_train, y_train, x_test, y_test = (standin.arrays[name] for name in ARRAYS)
        return (x_train.transpose(0, 3, 1, 2), y_train), (x_test.transpose(0, 3, 1, 2), y_test)

    use_keras(load_data)
    assert_right(from_keras(), standin)
    assert capsys.readouterr().out == ""


def test_a_download_without_a_response_times_out(monkeypatch, use_keras):
    monkeypatch.setattr(cifar10_sources, "SILENCE_SECONDS", 0.3)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        use_keras(lambda: urllib.request.urlopen(address))
        with pytest.raises(OSError, match="timed out"):
            from_keras()
    assert socket.getdefaulttimeout() is None


def test_a_download_is_measured_by_the_growth_of_its_files(standin, tmp_path, monkeypatch, use_keras, caplog):
    def load_data():
        archive = tmp_path / "datasets" / "cifar-10-batches-py-target_archive"
        archive.parent.mkdir()
        archive.write_bytes(bytes(2_500_000))
        x_train, y_train, x_test, y_test = (standin.arrays[name] for name in ARRAYS)
        return (x_train, y_train), (x_test, y_test)

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    use_keras(load_data)
    with caplog.at_level("INFO"):
        from_keras()
    assert "2.5 MB" in caplog.text
