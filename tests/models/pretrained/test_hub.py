"""Weights from the Hugging Face Hub: the real client against a small server that speaks the Hub's protocol."""

import hashlib
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub")

ROOT = Path(__file__).parents[3]
FILES = {"owner/net": b"safetensors " * 5_000}
SCRIPT = """
import sys
from models.pretrained.downloads import HubFile
print(HubFile(sys.argv[1]).fetch(" Or use another."))
"""


class Hub(BaseHTTPRequestHandler):
    """Serves `/{repository}/resolve/{revision}/model.safetensors` as the Hub does."""

    truncated = False
    requests: list[str] = []

    def do_HEAD(self):
        repository = self.path.removeprefix("/").partition("/resolve/")[0]
        self.requests.append(f"{self.command} {repository}")
        content = FILES.get(repository)
        self.send_response(404 if content is None else 200)
        if content is None:
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
        else:
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return content

    def do_GET(self):
        content = self.do_HEAD()
        if content is not None:
            self.wfile.write(content[: len(content) // 2] if self.truncated else content)
            self.close_connection = self.truncated

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(Hub, "requests", [])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def fetch(repository, endpoint, cache, home):
    """Fetch in a process of its own, because the client reads the Hub's address when it is imported."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "THAW_CACHE": str(cache),
        "PYTHONPATH": str(ROOT),
        "HF_HUB_DISABLE_XET": "1",
    }
    return subprocess.run([sys.executable, "-c", SCRIPT, repository], env=environment, capture_output=True, text=True)


def test_a_file_comes_from_the_hub_once(hub, tmp_path):
    for _ in range(2):
        result = fetch("owner/net", hub, tmp_path / "cache", tmp_path / "home")
        assert result.returncode == 0, result.stderr
    path = Path(result.stdout.strip())
    assert path == tmp_path / "cache" / "weights" / "owner--net-model.safetensors"
    assert path.read_bytes() == FILES["owner/net"]
    assert Hub.requests.count("GET owner/net") == 1


@pytest.mark.parametrize("repository", ["owner/net", "owner/other"])
def test_a_failed_download_is_reported_with_the_path_in_the_cache(hub, tmp_path, monkeypatch, repository):
    """The first file is truncated, the second does not exist."""
    monkeypatch.setattr(Hub, "truncated", True)
    result = fetch(repository, hub, tmp_path / "cache", tmp_path / "home")
    assert result.returncode != 0
    target = tmp_path / "cache" / "weights" / f"{repository.replace('/', '--')}-model.safetensors"
    for part in ("WeightsUnavailableError", repository, str(target), "Or use another."):
        assert part in result.stderr
    assert not target.exists()
