"""Evaluate a saved model on CIFAR-10: accuracy, loss, calibration error; precision, recall and F1 of each class.

python evaluate.py saved_models/mobilenet_v2                       a shipped model, on the 10,000 test images
python evaluate.py runs/mobilenet_v2-reference-finetune-seed0      the model of a run
python evaluate.py runs/my-run/model.onnx                          its ONNX file, under onnxruntime
python evaluate.py runs/my-run --split validation                  on the run's validation images
python evaluate.py runs/my-run --output metrics.json               also write metrics.json and a confusion matrix

A folder's model.keras is evaluated, or its model.onnx if there is no model.keras. The model must take square RGB images in
0..255 and output a probability for each of the ten classes.
"""

import argparse
import logging
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("path", type=Path, help="a run's folder, a folder in saved_models, or a .keras or .onnx file")
    add("--data-dir", help="CIFAR-10 as cifar-10-python.tar.gz, its folder, or an .npz (default: download and cache)")
    add("--split", choices=("test", "validation"), default="test", help="images to measure on (default: %(default)s)")
    add("--seed", type=int, help="seed of the validation split (default: the one in the model's card.json)")
    add("--batch-size", type=int, default=64, help="images per batch (default: %(default)s)")
    add("--output", type=Path, metavar="FILE", help="JSON file for the metrics; a confusion matrix goes beside it")
    options = parser.parse_args(arguments)
    if options.batch_size < 1:
        parser.error(f"--batch-size must be at least 1. Received: {options.batch_size}")
    if options.output and options.output.is_dir():
        parser.error(f"--output must be a file, such as {options.output / 'metrics.json'}. Received: {options.output}")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Evaluate the model and return the exit status: 0 done, 1 failed, 2 wrong option or path."""
    options = parse_arguments(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # Imported here, because TensorFlow takes seconds to import, which --help need not wait for.
    from runtime.quiet import quiet

    with quiet():
        import keras  # noqa: F401  # inside quiet(), which hides TensorFlow's messages

        from models.saved.card import ModelFileError
        from training import evaluation, plots
        from training.data import cifar10
        from training.data.dataset import DataUnavailableError
        from training.export.saved_model import load_saved, write_json

    try:
        saved = load_saved(options.path)
        dataset = cifar10.load_cifar10(options.data_dir)
        report = evaluation.evaluate_saved(
            saved, dataset, options.split, options.seed, options.batch_size, progress=True
        )
        headline = f"{saved.file} on the {options.split} split of {dataset.name}"
        print(f"{headline}\n\n{evaluation.format_metrics(report)}")
        if options.output:
            picture = options.output.with_name(f"{options.output.stem}_confusion_matrix.png")
            write_json(options.output, report)
            plots.plot_confusion_matrix(report["confusion_matrix"], report["class_names"], picture, headline)
            print(f"\nWritten: {options.output}, {picture}")
    except (DataUnavailableError, ValueError, OSError) as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 2 if isinstance(error, ModelFileError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
