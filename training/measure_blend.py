"""How much of each of two recipes' weights makes the best average, on validation images in several conditions."""

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from training.averaging import blended
from training.checkpoint import assign, values
from training.config import TrainingConfig
from training.evaluation import calibration, fit_calibration, predict_probabilities
from training.measure import record
from training.measure_views import CONDITIONS
from training.recipes import require
from training.run import Run
from training.views import apply_view

SHARES = (0.0, 0.2, 0.35, 0.5, 1.0)


def measure_blend(run: Path, results: Path, shares: Sequence[float] = SHARES) -> dict:
    """Ask averages of the two networks that a run with a `blend` made; the test set is not looked at.

    Args:
        run: the folder of the run; both parts in it must be trained.
        results: where `blend.json` goes.
        shares: of the other recipe's weights.

    Raises:
        ValueError: the run has no `blend`, or a part of it is not trained to its end.
    """
    config = TrainingConfig.load(run / "config.json")
    require(config.blend is not None, "the run must be one with a blend", run=str(run))
    parts = Run(config, run).parts()
    for part in parts:
        require(part.is_trained, "both parts must be trained; go on with --resume", part=str(part.folder))
    (other, _), (model, split) = (part.trained() for part in parts)
    images, labels = split.dataset.x_train[split.validation], split.dataset.y_train[split.validation]
    weights = [values(network.weights) for network in (other, model)]
    rows = []
    with tqdm(total=len(shares) * len(CONDITIONS), unit=" conditions", disable=None) as bar:
        for share in shares:
            assign(model.weights, blended(weights, (share, 1 - share)))
            accuracy = {}
            for condition in CONDITIONS:
                shown = apply_view(images, condition)
                probabilities = predict_probabilities(model, shown, config.image_size)
                accuracy[condition] = float((probabilities.argmax(axis=1) == labels).mean())
                if condition == "identity":
                    loss = calibration(probabilities, labels, fit_calibration(probabilities, labels))["loss_after"]
                bar.update()
            rows.append({"share": share, "loss": loss, "accuracy": accuracy})
    return record(results / "blend.json", {
        "model": config.model, "recipe": config.recipe, "blend": config.blend, "image_size": config.image_size,
        "seed": config.seed, "taken": config.blend_share, "validation_images": len(labels), "runs": rows,
    })  # fmt: skip
