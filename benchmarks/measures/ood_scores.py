"""How unlike the training data an image is, by scores that need only what a trained network computes anyway.

Every score is computed from penultimate features and logits, and is higher for images like those that were learned from.
Formulas are those of the papers, settings those that OpenOOD v1.5 (Zhang et al. 2023, arXiv 2306.09301) takes for CIFAR-10.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy import special
from sklearn.metrics import roc_auc_score

from models.saved.ood import energies

CHUNK = 1024
SHIPPED = "as shipped"
"""What `models.saved.ood` does, beside the names of `SCORES`."""


@dataclass(frozen=True)
class Learned:
    """What a network makes of its training images, and its last layer.

    Attributes:
        features: (n, d) float32, what the last layer reads.
        labels: (n,) int, the true classes.
        kernel: (d, classes), of the last layer.
        bias: (classes,).
    """

    features: np.ndarray
    labels: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return the last layer's logits (n, classes) of features (n, d)."""
        return features @ self.kernel + self.bias

    def energies(self, features: np.ndarray) -> np.ndarray:
        """Return the negative free energies (n,) of features (n, d)."""
        return energies(features, self.kernel, self.bias)


Score = Callable[[np.ndarray], np.ndarray]
"""From features (n, d) to scores (n,), higher for images like the training images."""


def maximum_probability(learned: Learned) -> Score:
    """The largest probability (Hendrycks and Gimpel 2017, arXiv 1610.02136)."""
    return lambda features: special.softmax(learned.logits(features), axis=1).max(axis=1)


def maximum_logit(learned: Learned) -> Score:
    """The largest logit (Hendrycks et al. 2022, arXiv 1911.11132)."""
    return lambda features: learned.logits(features).max(axis=1)


def energy(learned: Learned) -> Score:
    """The negative free energy: log sum exp of the logits (Liu et al. 2020, arXiv 2010.03759)."""
    return learned.energies


def react(learned: Learned, percentile: float = 90) -> Score:
    """Energy of features cut off at a percentile of all training activations (Sun et al. 2021, arXiv 2111.12797)."""
    highest = np.percentile(learned.features, percentile)
    return lambda features: learned.energies(np.minimum(features, highest))


def nearest_neighbour(learned: Learned, k: int | None = None) -> Score:
    """Minus the distance to the k-th nearest training image on the unit sphere (Sun et al. 2022, arXiv 2204.06507).

    `k` None takes a thousandth of the images: the 50th of CIFAR-10's 50,000.
    """
    bank = on_sphere(learned.features)
    k = k or max(1, len(bank) // 1000)
    # Of unit vectors the similarity less 1 is minus half the squared distance.
    return lambda features: _nearest(features, bank, k).min(axis=1) - 1


def guided(learned: Learned, k: int = 10) -> Score:
    """Energy times the mean similarity to the k nearest training images, each times its energy (NNGuide, Park et al. 2023,
    arXiv 2309.14888). All training images are the bank; k is that of the authors' code.
    """
    bank = on_sphere(learned.features) * learned.energies(learned.features)[:, np.newaxis]
    return lambda features: learned.energies(features) * _nearest(features, bank, k).mean(axis=1)


def _nearest(features: np.ndarray, bank: np.ndarray, k: int) -> np.ndarray:
    """Return the k highest products (n, k) of each feature, scaled to length 1, with the bank, in no order."""
    found = []
    for start in range(0, len(features), CHUNK):
        similarity = on_sphere(features[start : start + CHUNK]) @ bank.T  # (b, n)
        found.append(np.partition(similarity, -k, axis=1)[:, -k:])
    return np.concatenate(found)


def virtual_logit(learned: Learned, dimensions: int | None = None) -> Score:
    """Energy minus the scaled distance from the principal subspace of the training features (ViM, Wang et al. 2022, arXiv
    2203.10807). `dimensions` of the subspace; None for half of the features, as for ResNet-18 there.
    """
    origin = -np.linalg.pinv(learned.kernel.T) @ learned.bias
    centred = learned.features - origin
    subspace = principal(centred, dimensions or centred.shape[1] // 2)  # (d, D)

    def residual(centred: np.ndarray) -> np.ndarray:
        inside = ((centred @ subspace) ** 2).sum(axis=1)
        return np.sqrt(np.maximum((centred**2).sum(axis=1) - inside, 0))

    scale = learned.logits(learned.features).max(axis=1).mean() / residual(centred).mean()
    return lambda features: learned.energies(features) - scale * residual(features - origin)


def relative_mahalanobis(learned: Learned) -> Score:
    """Minus the least of the classes' Mahalanobis distances, less that from all data (Ren et al. 2021, arXiv 2106.09022)."""
    classes = np.unique(learned.labels)
    means = np.stack([learned.features[learned.labels == label].mean(axis=0) for label in classes])
    of_own = learned.features - means[np.searchsorted(classes, learned.labels)]
    mean = learned.features.mean(axis=0)
    within, whole = (_whitening(centred) for centred in (of_own, learned.features - mean))

    def score(features: np.ndarray) -> np.ndarray:
        distances = np.stack([(((features - each) @ within) ** 2).sum(axis=1) for each in means], axis=1)
        return -(distances - (((features - mean) @ whole) ** 2).sum(axis=1, keepdims=True)).min(axis=1)

    return score


SCORES: Mapping[str, Callable[[Learned], Score]] = MappingProxyType(
    {
        "maximum probability": maximum_probability,
        "maximum logit": maximum_logit,
        "energy": energy,
        "ReAct": react,
        "nearest neighbours": nearest_neighbour,
        "NNGuide": guided,
        "virtual logit (ViM)": virtual_logit,
        "relative Mahalanobis": relative_mahalanobis,
    }
)

WITHOUT_LOGITS = ("nearest neighbours", "relative Mahalanobis")
"""Which of them need features alone."""


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """Return how often an image of the distribution has a higher score than one from outside: 0.5 by chance, 1 at best."""
    truth = np.concatenate([np.ones(len(inside)), np.zeros(len(outside))])
    return float(roc_auc_score(truth, np.concatenate([inside, outside])))


def on_sphere(features: np.ndarray) -> np.ndarray:
    """Return features (n, d) scaled to length 1."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def principal(features: np.ndarray, dimensions: int) -> np.ndarray:
    """Return the directions in which features (n, d) are longest, of centred ones those of most variance: (d, dimensions)."""
    _, vectors = np.linalg.eigh(features.T @ features / len(features))
    return vectors[:, ::-1][:, :dimensions]


def _whitening(centred: np.ndarray) -> np.ndarray:
    """Return the matrix (d, rank) that takes the covariance of (n, d) to the identity, without directions of no variance."""
    variances, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    kept = variances > variances.max() * 1e-6
    return vectors[:, kept] / np.sqrt(variances[kept])
