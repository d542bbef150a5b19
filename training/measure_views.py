"""What views of small, blurred and compressed pictures give a model that is to answer uploads, and what they cost."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from training.evaluation import predict_probabilities
from training.measure import empty_boundary_cache, origin, record
from training.measure_recipes import known_runs, shortened_strong
from training.run import Run
from training.views import apply_view

CANDIDATES: Mapping[str, tuple[str, ...]] = {
    "as it is, mirrored, shifted": ("identity", "mirror+shift_2_2", "mirror", "shift_-2_2"),
    "and both": ("identity", "mirror+shift_2_2", "pixels_12", "mirror", "shift_-2_2", "mirror+jpeg_20"),
    "and both, JPEG stronger": ("identity", "mirror+shift_2_2", "pixels_12", "mirror", "shift_-2_2", "mirror+jpeg_10"),
    "and both, stronger": ("identity", "mirror+shift_2_2", "pixels_8", "mirror", "shift_-2_2", "mirror+jpeg_10"),
    "and both twice": (
        "identity", "mirror+shift_2_2", "pixels_8", "mirror+jpeg_20", "shift_-2_2", "mirror", "jpeg_10", "mirror+pixels_12",
    ),
}  # fmt: skip
"""Sets of views by what they add to the first; those of a set are cached, and shown in turn."""

CONDITIONS = ("identity", "jpeg_50", "jpeg_30", "jpeg_10", "pixels_24", "pixels_16", "pixels_8", "blur_1", "noise_16")


def measure_views(
    runs: Path, results: Path, sets: Sequence[str] = (), *, image_size: int = 96, epochs: float = 4
) -> dict:
    """Train MobileNetV2 by a shortened `strong` on each set of views and ask it validation images in every condition.

    The test set is not looked at.

    Args:
        runs: the folder of runs; finished ones in it are taken as they are, unfinished ones go on.
        results: where `robust_views.json` goes; rows of other sets in it stay.
        sets: names of `CANDIDATES`; empty for all.
        image_size: the side of the input in pixels.
        epochs: of phase "finetune".

    Raises:
        ValueError: if there is no set of a name, or the file holds runs of another size or length.
    """
    for name in sets:
        if name not in CANDIDATES:
            raise ValueError(f"sets must be of: {'; '.join(CANDIDATES)}. Received: {name!r}")
    path = results / "robust_views.json"
    rows = {row["views"]: row for row in known_runs(path, image_size, epochs)}
    for name in sets or CANDIDATES:
        config = shortened_strong(image_size, epochs, views=CANDIDATES[name])
        run = Run(
            config, runs / "views" / f"{image_size}px-{epochs:g}-epochs" / name.replace(" ", "-").replace(",", "")
        )
        with empty_boundary_cache(cache := run.folder.with_name(f".{run.folder.name}-cache")):  # its time counts
            model, split = run.trained()
        shutil.rmtree(cache, ignore_errors=True)
        images, labels = (each[split.validation] for each in (split.dataset.x_train, split.dataset.y_train))
        rows[name] = {
            **origin(),
            "views": name,
            "set": list(CANDIDATES[name]),
            "accuracy": {
                condition: float(
                    (predict_probabilities(model, apply_view(images, condition), image_size).argmax(1) == labels).mean()
                )
                for condition in CONDITIONS
            },
            "seconds": {stage: round(run.state.seconds[stage], 1) for stage in ("cache", "finetune")},
        }
        result = record(path, {
            "model": config.model, "recipe": "strong", "image_size": image_size, "epochs": epochs, "seed": config.seed,
            "validation_images": len(labels), "runs": [rows[name] for name in CANDIDATES if name in rows],
        })  # fmt: skip
    return result
