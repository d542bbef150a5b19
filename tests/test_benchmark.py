"""The command line of `benchmark.py`: what its options stand for."""

import pytest

import benchmark


@pytest.mark.parametrize(("given", "seeds"), [([3], [0, 1, 2]), ([1], [0]), ([1, 2], [1, 2])])
def test_one_number_is_how_many_seeds_and_several_are_the_seeds(given, seeds):
    assert list(benchmark.seed_numbers(given)) == seeds


def test_no_seeds_are_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        benchmark.parse_arguments(["--budget", "controlled", "--seeds", "0"])
    assert stopped.value.code == 2
    assert "--seeds must be at least 1 run" in capsys.readouterr().err


def test_a_stage_without_a_name_is_refused(capsys):
    with pytest.raises(SystemExit):
        benchmark.parse_arguments(["--domain-gap", ""])
    assert "--domain-gap needs a name" in capsys.readouterr().err


def test_what_cannot_be_measured_is_told_in_a_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path)
    assert benchmark.main(["--fits", "--models", "no_such_model"]) == 1
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("benchmark.py: "))
    assert "no_such_model" in line
