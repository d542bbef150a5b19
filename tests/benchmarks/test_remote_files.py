"""Files on the web: a real server, a real cache; any other file is refused."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.data.remote_files import FileUnavailableError, RemoteFile

CONTENT = b"TestID,TrainID\n" * 2000


class Served(SimpleHTTPRequestHandler):
    paths: list[str] = []

    def do_GET(self):
        self.paths.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def address(tmp_path, monkeypatch):
    monkeypatch.setattr(Served, "paths", [])
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "list.csv").write_bytes(CONTENT)
    (tmp_path / "served" / "cut.csv").write_bytes(CONTENT[:-100])
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Served, directory=tmp_path / "served"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def listed(address, file="list.csv"):
    return RemoteFile(f"{address}/{file}", hashlib.sha256(CONTENT).hexdigest(), f"lists/of others/{file}")


def test_a_file_is_fetched_once_and_again_when_it_is_damaged(address, cache):
    file = listed(address)
    assert file.fetch() == file.fetch() == cache / "lists" / "of others" / "list.csv"
    assert file.cached.read_bytes() == CONTENT
    assert Served.paths == ["/list.csv"]
    file.cached.write_bytes(CONTENT[:50])
    assert not file.is_cached
    assert file.fetch().read_bytes() == CONTENT
    assert len(Served.paths) == 2


@pytest.mark.parametrize("file", ["cut.csv", "none.csv"])
def test_any_other_file_is_refused_and_leaves_nothing(address, cache, file):
    missing = listed(address, file)
    with pytest.raises(FileUnavailableError, match=f"{file}.*{missing.cached}"):
        missing.fetch()
    assert [path.name for path in missing.cached.parent.iterdir()] == [f".{file}.lock"]


def test_without_a_network_a_whole_file_in_the_cache_is_used_and_a_damaged_one_reported(cache):
    file = listed("http://127.0.0.1:9")
    file.cached.parent.mkdir(parents=True)
    file.cached.write_bytes(CONTENT)
    assert file.fetch() == file.cached
    file.cached.write_bytes(CONTENT[:50])
    with pytest.raises(FileUnavailableError, match="damaged"):
        file.fetch()
