"""Intervals and paired tests against what their definitions give."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.measures.significance import bootstrap_interval, holm, mcnemar


def test_the_interval_of_an_accuracy_is_that_of_a_binomial_share():
    correct = np.arange(10_000) < 9_000
    low, high = bootstrap_interval(correct)
    expected = stats.binom.ppf([0.025, 0.975], 10_000, 0.9) / 10_000
    np.testing.assert_allclose([low, high], expected, atol=5e-4)
    assert bootstrap_interval(correct) == (low, high)


def test_runs_are_averaged_image_by_image():
    sure = np.stack([np.arange(400) % 2 == 0, np.arange(400) % 2 == 1])  # each image right in one of two runs
    assert bootstrap_interval(sure) == (0.5, 0.5)
    assert bootstrap_interval(np.ones(5, bool)) == (1.0, 1.0)


def test_mcnemar_counts_what_one_alone_gets_right():
    first = np.array([1, 1, 1, 1, 1, 1, 0, 0, 1], bool)
    second = np.array([1, 0, 0, 0, 0, 0, 0, 1, 1], bool)
    found = mcnemar(first, second)
    assert (found["only_first"], found["only_second"]) == (5, 1)
    assert found["p"] == pytest.approx(2 * (1 + 6) / 64)  # of six coins, one or none on the rarer side
    assert mcnemar(first, first)["p"] == 1.0
    with pytest.raises(ValueError, match=r"\(9,\) and \(8,\)"):
        mcnemar(first, second[:8])


def test_holm_scales_each_p_by_the_number_that_are_left():
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
