"""The formats and places of CIFAR-10, each on stand-ins of a few images in the real format."""

import os
import pickle
import socket
import struct
import sys
import tarfile
import types
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from training.data import cifar10_sources
from training.data.cifar10_sources import ARRAYS, from_keras, read_named

BATCHES = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]


class Python2Pickler(pickle._Pickler):
    """Writes byte strings and NumPy's module name as Python 2 did, like the official batches."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes

    def save_global(self, value: object, name: str | None = None) -> None:
        if getattr(value, "__name__", "") != "_reconstruct":
            return super().save_global(value, name)
        self.write(pickle.GLOBAL + b"numpy.core.multiarray\n_reconstruct\n")
        return self.memoize(value)


def write_batches(folder: Path, content: list[dict]) -> None:
    folder.mkdir()
    for name, batch in zip(BATCHES, content, strict=True):
        with open(folder / name, "wb") as file:
            Python2Pickler(file, protocol=2).dump(batch)


@pytest.fixture(scope="module")
def standin(tmp_path_factory) -> types.SimpleNamespace:
    """Four images a batch in every format that a user can name, and the arrays that must come out."""
    root = tmp_path_factory.mktemp("standin")
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (4, 32, 32, 3), np.uint8) for _ in BATCHES]
    labels = [rng.integers(0, 10, 4).astype(np.uint8) for _ in BATCHES]
    arrays = dict(zip(ARRAYS, map(np.concatenate, (images[:5], labels[:5], images[5:], labels[5:])), strict=True))
    content = [
        {
            b"batch_label": name.encode(),
            b"labels": y.tolist(),
            b"data": x.transpose(0, 3, 1, 2).reshape(4, 3072),
            b"filenames": [b"leptodactylus_pentadactylus_s_000004.png"] * 4,
        }
        for name, x, y in zip(BATCHES, images, labels, strict=True)
    ]
    write_batches(root / "cifar-10-batches-py", content)
    with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(root / "cifar-10-batches-py", "cifar-10-batches-py")
    np.savez(root / "arrays.npz", **arrays)
    return types.SimpleNamespace(root=root, arrays=arrays)


def assert_right(received: dict[str, np.ndarray], standin: types.SimpleNamespace) -> None:
    assert set(received) == set(ARRAYS)
    for name in ARRAYS:
        assert np.array_equal(received[name], standin.arrays[name])


@pytest.mark.parametrize("named", ["cifar-10-python.tar.gz", "cifar-10-batches-py", ".", "arrays.npz"])
def test_every_format_gives_the_same_arrays(standin, named):
    assert_right(read_named(standin.root / named), standin)


def test_the_stand_in_is_pickled_as_the_official_files_are(standin):
    content = (standin.root / "cifar-10-batches-py" / "data_batch_1").read_bytes()
    assert content.startswith(b"\x80\x02}") and b"cnumpy.core.multiarray\n_reconstruct\n" in content


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
def test_a_truncated_file_is_never_taken_for_a_whole_one(standin, tmp_path, name, keep):
    (tmp_path / name).write_bytes((standin.root / name).read_bytes()[:keep])
    with pytest.raises(Exception, match=r".+"):  # whatever the format's reader says; the loader names the source
        read_named(tmp_path / name)


def test_what_is_missing_is_named(standin, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        read_named(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"expected cifar-10-python.tar.gz or the folder cifar-10-batches-py"):
        read_named(tmp_path)
    (tmp_path / "data_batch_2").write_bytes((standin.root / "cifar-10-batches-py" / "data_batch_2").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"Missing: data_batch_1, data_batch_3, .*test_batch"):
        read_named(tmp_path)
    np.savez(tmp_path / "part.npz", x_train=standin.arrays["x_train"], y_train=standin.arrays["y_train"])
    with pytest.raises(ValueError, match="Missing: x_test, y_test"):
        read_named(tmp_path / "part.npz")
    (tmp_path / "notes.txt").write_text("no archive at all")
    with pytest.raises(ValueError, match=r"expected cifar-10-python.tar.gz, a folder of its batches, or an .npz"):
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
    mark.rmdir()  # so it would work
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


def use_keras(monkeypatch, load_data) -> None:
    """Put a Keras in place whose download is `load_data`."""
    datasets = types.SimpleNamespace(cifar10=types.SimpleNamespace(load_data=load_data))
    monkeypatch.setitem(sys.modules, "keras", types.SimpleNamespace(datasets=datasets))


@pytest.mark.parametrize("channels_first", [False, True])
def test_the_official_download(standin, monkeypatch, capsys, channels_first):
    def load_data():
        print("the bar of Keras")
        x_train, y_train, x_test, y_test = (standin.arrays[name] for name in ARRAYS)
        if channels_first:
            x_train, x_test = x_train.transpose(0, 3, 1, 2), x_test.transpose(0, 3, 1, 2)
        return (x_train, y_train), (x_test, y_test)

    use_keras(monkeypatch, load_data)
    assert_right(from_keras(), standin)
    assert capsys.readouterr().out == ""


def test_an_official_host_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(cifar10_sources, "SILENCE_SECONDS", 0.3)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        use_keras(monkeypatch, lambda: urllib.request.urlopen(address))
        with pytest.raises(OSError, match="timed out"):
            from_keras()
    assert socket.getdefaulttimeout() is None


def test_a_download_is_measured_by_the_growth_of_its_files(standin, tmp_path, monkeypatch, caplog):
    def load_data():
        archive = tmp_path / "datasets" / "cifar-10-batches-py-target_archive"
        archive.parent.mkdir()
        archive.write_bytes(bytes(2_500_000))
        x_train, y_train, x_test, y_test = (standin.arrays[name] for name in ARRAYS)
        return (x_train, y_train), (x_test, y_test)

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    use_keras(monkeypatch, load_data)
    with caplog.at_level("INFO"):
        from_keras()
    assert "CIFAR-10 from its official host: 2.5 MB in" in caplog.text
