"""The scores of ood_detector, each against its formula written out, and on data whose outside is known."""

import numpy as np
import pytest
from scipy import special

from benchmarks.measures import ood_scores as novelty_scores
from benchmarks.measures.ood_scores import SCORES, Learned, auroc


@pytest.fixture(scope="module")
def learned():
    """Three classes in 8 dimensions, of which the last layer reads the first three."""
    random = np.random.default_rng(0)
    means = 4 * np.eye(3, 8)
    labels = np.arange(600) % 3
    features = np.abs(means[labels] + random.normal(0, 0.5, (600, 8))).astype(np.float32)
    return Learned(features, labels, (2 * np.eye(8, 3)).astype(np.float32), np.full(3, -1, np.float32))


@pytest.fixture(scope="module")
def inside():
    random = np.random.default_rng(1)
    return np.abs(4 * np.eye(3, 8)[np.arange(90) % 3] + random.normal(0, 0.5, (90, 8))).astype(np.float32)


@pytest.mark.parametrize("name", SCORES)
def test_what_is_far_outside_scores_lower(name, learned, inside):
    outside = np.abs(np.random.default_rng(2).normal(0.4, 0.3, (90, 8))).astype(np.float32)
    score = SCORES[name](learned)
    assert score(inside).shape == (90,)
    assert auroc(score(inside), score(outside)) > 0.95


def test_the_subspace_and_the_neighbours_see_what_the_logits_do_not(learned, inside):
    outside = inside.copy()
    outside[:, 7] += 6  # the last layer does not read it
    blind, seeing = (SCORES[name](learned) for name in ("energy", "nearest neighbours"))
    assert auroc(blind(inside), blind(outside)) == pytest.approx(0.5)
    assert auroc(seeing(inside), seeing(outside)) > 0.99
    vim = SCORES["virtual logit (ViM)"](learned)
    assert auroc(vim(inside), vim(outside)) > 0.99


def test_each_is_its_formula(learned, inside):
    logits = inside @ learned.kernel + learned.bias
    np.testing.assert_allclose(SCORES["energy"](learned)(inside), np.log(np.exp(logits).sum(1)), rtol=1e-5)
    np.testing.assert_allclose(
        SCORES["maximum probability"](learned)(inside), special.softmax(logits, 1).max(1), rtol=1e-5
    )
    units = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (inside, learned.features)]
    distances = np.linalg.norm(units[0][:, None] - units[1][None], axis=2)
    np.testing.assert_allclose(
        novelty_scores.nearest_neighbour(learned, k=5)(inside), -(np.sort(distances, axis=1)[:, 4] ** 2) / 2, atol=1e-5
    )
    energies = [np.log(np.exp(each @ learned.kernel + learned.bias).sum(1)) for each in (inside, learned.features)]
    guidance = np.sort(units[0] @ (units[1] * energies[1][:, None]).T, axis=1)[:, -10:].mean(axis=1)
    np.testing.assert_allclose(SCORES["NNGuide"](learned)(inside), energies[0] * guidance, rtol=1e-5)
    cut = np.percentile(learned.features, 90)
    np.testing.assert_allclose(
        SCORES["ReAct"](learned)(inside),
        special.logsumexp(np.minimum(inside, cut) @ learned.kernel + learned.bias, axis=1),
        rtol=1e-5,
    )


def test_the_virtual_logit_is_that_of_the_paper(learned, inside):
    origin = -np.linalg.pinv(learned.kernel.T) @ learned.bias  # where all logits are 0, as nearly as can be
    centred = learned.features - origin
    _, vectors = np.linalg.eigh(centred.T @ centred)
    rest = vectors[:, :4]  # all but the 4 directions of most variance

    def residual(features):
        return np.linalg.norm((features - origin) @ rest, axis=1)

    highest = (learned.features @ learned.kernel + learned.bias).max(axis=1)
    alpha = highest.sum() / residual(learned.features).sum()
    expected = special.logsumexp(inside @ learned.kernel + learned.bias, axis=1) - alpha * residual(inside)
    np.testing.assert_allclose(SCORES["virtual logit (ViM)"](learned)(inside), expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        SCORES["maximum logit"](learned)(inside), (inside @ learned.kernel + learned.bias).max(1), rtol=1e-6
    )


def test_the_mahalanobis_distance_is_that_of_the_inverse_covariance(learned, inside):
    means = np.stack([learned.features[learned.labels == label].mean(0) for label in range(3)])
    within = np.cov((learned.features - means[learned.labels]).T, bias=True)
    whole = np.cov(learned.features.T, bias=True)

    def distance(features, mean, covariance):
        centred = features - mean
        return np.einsum("nd,de,ne->n", centred, np.linalg.inv(covariance), centred)

    expected = -np.min([distance(inside, mean, within) for mean in means], axis=0)
    expected += distance(inside, learned.features.mean(0), whole)
    np.testing.assert_allclose(SCORES["relative Mahalanobis"](learned)(inside), expected, rtol=1e-3, atol=1e-2)


def test_auroc_by_hand():
    assert auroc(np.array([3.0, 2.0]), np.array([1.0, 2.5])) == 0.75
