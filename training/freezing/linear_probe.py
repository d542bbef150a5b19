"""The linear probe: logistic regression on frozen features, solved to convergence instead of by SGD."""

import numpy as np

REGULARISATION = 0.01  # scikit-learn's C, on standardised features


def fit_linear_probe(features: np.ndarray, labels: np.ndarray):
    """Fit a scikit-learn pipeline of StandardScaler and LogisticRegression on features (n, D) and integer labels (n,)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARISATION, max_iter=1000))
    return probe.fit(features.astype("float32"), labels)


def solve_head(layer, features: np.ndarray, labels: np.ndarray) -> None:
    """Set the weights of a built Dense softmax layer, (D) → (classes), to the linear probe's, including its scaling.

    Pass the features (n, D) of training images only, and labels (n,) with every class among them.
    """
    scaler, regression = (step for _, step in fit_linear_probe(features, labels).steps)
    coefficients, intercepts = regression.coef_, regression.intercept_  # (classes, D), (classes,)
    if len(coefficients) == 1:  # for two classes scikit-learn keeps only the second one's log-odds
        coefficients, intercepts = np.vstack([0 * coefficients, coefficients]), np.append(0.0, intercepts)
    kernel = (coefficients / scaler.scale_).T  # (D, classes)
    layer.kernel.assign(kernel)
    layer.bias.assign(intercepts - scaler.mean_ @ kernel)
