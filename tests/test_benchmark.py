"""The command line of `benchmark.py`."""

import pytest

import benchmark
from benchmarks.experiments import experiments, stopping


def test_without_a_name_it_lists_every_experiment(capsys):
    assert benchmark.main([]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed and each["question"] in listed for name, each in experiments().items())


def test_an_experiment_has_its_own_help(capsys):
    with pytest.raises(SystemExit) as stopped:
        benchmark.main(["stopping", "--help"])
    assert stopped.value.code == 0 and "--repeats" in capsys.readouterr().out


def test_an_unknown_name_is_refused(capsys):
    assert benchmark.main(["servnig"]) == 2
    assert "Received: servnig" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, 130), (RuntimeError("The server died."), 1)])
def test_a_failure_ends_with_one_line_and_a_status(capsys, monkeypatch, error, status):
    def fail(options):
        raise error

    monkeypatch.setattr(stopping, "run", fail)
    assert benchmark.main(["--stopping"]) == status, "the former spelling too"
    assert capsys.readouterr().err.strip().startswith("benchmark.py")


def test_results_are_rendered_from_and_into_the_given_folder(tmp_path):
    assert benchmark.main(["report", "--results", str(tmp_path)]) == 0
    assert (tmp_path / "report.html").exists()
