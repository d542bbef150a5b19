"""Measure a saved model on CIFAR-10: accuracy, loss, and precision, recall and F1 of each class.

python evaluate.py runs/mobilenet_v2-reference-finetune-seed0      the model of a run, on the 10,000 test images
python evaluate.py saved_models/mobilenet_v2                       a model that ships with the project
python evaluate.py runs/my-run/model.onnx                          the ONNX file, by onnxruntime
python evaluate.py runs/my-run --split validation                  the training images that the run held back
python evaluate.py runs/my-run --output metrics.json               also writes metrics.json and its confusion matrix

A folder is measured by its model.keras, or by its model.onnx where that is all it has. A model takes raw RGB in 0..255
at any size and answers one probability for each of the ten classes.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported, which would talk over the table


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("path", type=Path, help="a run's folder, a folder of saved_models, or a .keras or .onnx file")
    add("--data-dir", help="CIFAR-10 as cifar-10-python.tar.gz, its folder, or an .npz (default: fetched and cached)")
    add("--split", choices=("test", "validation"), default="test", help="which images (default: %(default)s)")
    add("--seed", type=int, help="seed that drew the validation split (default: the one in the model's card.json)")
    add("--batch-size", type=int, default=64, help="images in one step (default: %(default)s)")
    add(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the metrics there as JSON, and the confusion matrix beside it as a PNG",
    )
    options = parser.parse_args(arguments)
    if options.batch_size < 1:
        parser.error(f"--batch-size must be at least 1. Received: {options.batch_size}")
    if options.output and options.output.is_dir():
        parser.error(f"--output must be a file, such as {options.output / 'metrics.json'}. Received: {options.output}")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Evaluate, and return the exit status: 0 done, 1 failed, 2 bad option or path."""
    options = parse_arguments(arguments)
    # Here, not above: TensorFlow takes seconds to import, and --help and a wrong option should answer at once.
    from runtime.quiet import quiet

    with quiet():
        import keras  # noqa: F401  # now, while what TensorFlow says at its import is held back

        from models.saved.card import ModelFileError
        from training import evaluation, plots
        from training.data import cifar10
        from training.data.dataset import DataUnavailableError
        from training.export import saved_model as artifacts

    try:
        saved = artifacts.load_saved(options.path)
    except ModelFileError as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 2
    try:
        dataset = cifar10.load_cifar10(options.data_dir)
        report = evaluation.evaluate_saved(
            saved, dataset, options.split, options.seed, options.batch_size, progress=sys.stderr.isatty()
        )
        headline = f"{saved.file} on the {options.split} split of {dataset.name}"
        print(f"{headline}\n\n{evaluation.format_metrics(report)}")
        if options.output:
            picture = options.output.with_name(f"{options.output.stem}_confusion_matrix.png")
            artifacts.write_json(options.output, report)
            plots.plot_confusion_matrix(report["confusion_matrix"], report["class_names"], picture, headline)
            print(f"\nWritten: {options.output}, {picture}")
    except (DataUnavailableError, ValueError, OSError) as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
