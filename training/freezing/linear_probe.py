"""The linear probe: logistic regression on frozen features, solved to convergence instead of by SGD."""

import numpy as np

REGULARISATION = 0.01  # scikit-learn's C, on standardised features


def fit_linear_probe(features: np.ndarray, labels: np.ndarray):
    """Return scikit-learn's pipeline of a StandardScaler and LogisticRegression (C=0.01), fitted.

    Args:
        features: float (n, D).
        labels: integers (n,).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARISATION, max_iter=1000))
    return probe.fit(features.astype("float32"), labels)


def solve_head(layer, features: np.ndarray, labels: np.ndarray) -> None:
    """Give a Dense softmax layer, (D) → (classes), the weights of the linear probe; the scaling goes into them.

    Args:
        layer: the layer, built.
        features: float (n, D), of training images only.
        labels: integers (n,), every class among them.
    """
    scaler, regression = (step for _, step in fit_linear_probe(features, labels).steps)
    coefficients, intercepts = regression.coef_, regression.intercept_  # (classes, D), (classes,)
    if len(coefficients) == 1:  # of two classes scikit-learn keeps the second one's log-odds
        coefficients, intercepts = np.vstack([0 * coefficients, coefficients]), np.append(0.0, intercepts)
    kernel = (coefficients / scaler.scale_).T  # (D, classes)
    layer.kernel.assign(kernel)
    layer.bias.assign(intercepts - scaler.mean_ @ kernel)
