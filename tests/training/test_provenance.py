import json
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from training import provenance
from training.provenance import describe_hardware, git_commit, hardware, peak_memory_mb


class TestHardware:
    def test_fields(self):
        found = hardware()
        assert set(found) == {"cpu", "vectors", "cores", "memory_gib", "gpus", "platform", "python"}
        assert found["cores"] >= 1
        assert found["cpu"]
        assert json.loads(json.dumps(found)) == found
        assert platform.node() not in describe_hardware() or not platform.node()

    def test_one_line_for_the_card(self, monkeypatch):
        monkeypatch.setattr(provenance, "_cpu_model", lambda: "AMD EPYC")
        monkeypatch.setattr(provenance, "gpus", lambda: ["NVIDIA L4"])
        monkeypatch.setattr(provenance, "__cpu_features__", {"AVX2": True, "AVX512F": True})
        monkeypatch.setattr(provenance.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
        monkeypatch.setattr(
            provenance.os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096}.get(name, 6 * 2**20), raising=False
        )
        monkeypatch.setattr(provenance.platform, "system", lambda: "Linux")
        monkeypatch.setattr(provenance.platform, "machine", lambda: "x86_64")
        assert describe_hardware() == "AMD EPYC (AVX-512), 2 cores, 24 GiB, NVIDIA L4, Linux x86_64"
        monkeypatch.setattr(provenance, "__cpu_features__", {"AVX2": True, "AVX512F": False})
        assert describe_hardware().startswith("AMD EPYC (AVX2), 2 cores")
        monkeypatch.setattr(provenance, "__cpu_features__", {})
        assert describe_hardware().startswith("AMD EPYC, 2 cores")

    def test_works_where_linux_is_not(self, monkeypatch):
        def missing(*_, **__):
            raise OSError

        monkeypatch.setattr(provenance.Path, "read_text", missing)
        monkeypatch.setattr(provenance.os, "sysconf", missing, raising=False)
        monkeypatch.delattr(provenance.os, "sched_getaffinity", raising=False)
        found = hardware()
        assert found["cpu"]
        assert found["cores"] >= 1
        assert found["memory_gib"] is None


class TestGitCommit:
    @pytest.fixture
    def repository(self, tmp_path, monkeypatch):
        monkeypatch.setattr(provenance, "ROOT", tmp_path.resolve())

        def git(*arguments):
            identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "core.hooksPath=/dev/null"]
            return subprocess.run(
                ["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
            ).stdout.strip()

        git("init", "-q")
        return git

    def test_is_the_commit(self, repository, tmp_path):
        (tmp_path / "file").write_text("1")
        repository("add", "file")
        repository("commit", "-q", "-m", "one")
        repository("tag", "v1")
        assert git_commit() == repository("rev-parse", "HEAD")
        (tmp_path / "file").write_text("2")
        assert git_commit() == repository("rev-parse", "HEAD") + "-dirty"

    def test_changed_results_do_not_make_it_dirty(self, repository, tmp_path):
        (tmp_path / "results").mkdir()
        (tmp_path / "results" / "speed.json").write_text("1")
        repository("add", "results")
        repository("commit", "-q", "-m", "one")
        (tmp_path / "results" / "speed.json").write_text("2")
        assert git_commit() == repository("rev-parse", "HEAD")

    def test_none_without_a_commit_of_this_folder_or_without_git(self, repository, tmp_path, monkeypatch):
        assert git_commit() is None  # before the first commit
        (tmp_path / "venv").mkdir()
        monkeypatch.setattr(provenance, "ROOT", tmp_path.resolve() / "venv")
        assert git_commit() is None  # a copy inside another repository
        monkeypatch.setenv("PATH", "")
        assert git_commit() is None


class TestPeakMemory:
    def test_is_plausible_for_a_python_process(self):
        assert peak_memory_mb() is None or 20 < peak_memory_mb() < 1e6

    @pytest.mark.parametrize(("system", "expected"), [("linux", 1024.0), ("darwin", 1.0)])
    def test_units_of_each_system(self, monkeypatch, system, expected):
        usage = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda _: SimpleNamespace(ru_maxrss=1_000_000))
        monkeypatch.setitem(sys.modules, "resource", usage)
        monkeypatch.setattr(provenance.sys, "platform", system)
        assert peak_memory_mb() == expected

    def test_none_without_the_resource_module(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "resource", None)
        assert peak_memory_mb() is None
