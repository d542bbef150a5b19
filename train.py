"""Train a CIFAR-10 classifier: freeze an ImageNet backbone, train its head, thaw its last layers.

python train.py --phase finetune                      MobileNetV2, both phases (the default)
python train.py --phase head --seed 1                 the head alone, on a frozen backbone
python train.py --recipe strong                       further: linear probe, then AdamW over cached views
python train.py --model speedrun_cnn                  a small CNN from scratch in ten epochs
python train.py --model custom_cnn --augment flip     a small CNN from scratch
python train.py --phase finetune --limit 2000         a quick look, on 2,000 images
python train.py --resume                              go on with the run that was interrupted last
python train.py --list                                the networks: size, parameters, weights
"""

import argparse
import logging
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault(
    "TF_CPP_MIN_LOG_LEVEL", "2"
)  # before TensorFlow is imported, which would talk over the progress bars

from runtime.quiet import VERBOSE_LOGGERS, quiet
from training.recipes import RECIPES

if TYPE_CHECKING:
    from training.run import Run

RUNS = Path("runs")


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--list", action="store_true", help="print the networks as a table and exit")
    add(
        "--phase",
        choices=("head", "finetune", "scratch"),
        help="the last phase to run; finetune runs head first (default: the model's last)",
    )
    add("--model", default="mobilenet_v2", help="name of the network; --list shows them (default: %(default)s)")
    add(
        "--recipe",
        choices=RECIPES,
        help="optimizer, learning rates, epochs, views and more; strong takes pretrained networks "
        "furthest, robust readies them for uploads (default: the one made for the network, else reference)",
    )
    add(
        "--head",
        help="the layers behind the backbone, such as linear; a wrong one lists the model's (default: the model's first)",
    )
    add("--epochs", type=float, help="the most epochs of the last phase (default: the recipe's)")
    add("--learning-rate", type=float, help="the highest one of the last phase (default: the recipe's)")
    add("--batch-size", type=int, help="images in one step (default: the recipe's, 32 for transfer)")
    add(
        "--unfreeze",
        help="what finetune trains: a number of layers counted from the backbone's end, a layer or block "
        "name such as block_13, or all (default: the model's, 50 for mobilenet_v2)",
    )
    add("--image-size", type=int, help="side of the model's input in pixels (default: the model's, which --list shows)")
    add(
        "--augment",
        help="comma-separated: flip, crop, translate, shift, rotate, cutout, mixup, cutmix, or none; flip alone, "
        "and with no views, keeps the cache (default: the recipe's)",
    )
    add(
        "--views",
        help="comma-separated fixed views that images show in turn, one an epoch: identity first, then mirror, "
        "shift_DOWN_RIGHT in pixels, jpeg_30 or another corruption, or several joined as in mirror+shift_2_-2; or robust, a "
        "set for uploads; they keep the cache (default: the recipe's)",
    )
    add(
        "--blend",
        metavar="RECIPE",
        help="learn by that recipe too, and average the weights of both; or none (default: the "
        "recipe's, which is strong for robust, and none for the others)",
    )
    add("--validation", type=int, help="training images held back for validation (default: the recipe's, a tenth)")
    add(
        "--precision",
        choices=("float32", "mixed_bfloat16"),
        help="of the arithmetic in training; the saved model is float32 always (default: the recipe's, and float32 where the "
        "processor has no AVX-512)",
    )
    add("--seed", type=int, default=0, help="of split, weights, order and augmentation (default: %(default)s)")
    add("--data-dir", help="CIFAR-10 as cifar-10-python.tar.gz, its folder, or an .npz (default: fetched and cached)")
    add("--weights", help="imagenet, keras, none, or a file: .keras, .weights.h5, .pt, .pth, .bin, .safetensors, .ckpt")
    add("--limit", type=int, help="use the first n training and test images only, for a quick look")
    add(
        "--no-cache",
        dest="cache",
        action="store_false",
        help="run the frozen layers again in every step, the plain way",
    )
    add("--cache-dtype", choices=("float16", "float32"), help="precision of cached activations (default: float16)")
    add("--output", type=Path, help="folder of the run (default: runs/<model>-<recipe>-<phase>-seed<seed>)")
    add(
        "--resume",
        nargs="?",
        type=Path,
        const=Path(),
        metavar="RUN",
        help="go on with an interrupted run, by default the latest; other options are taken from it",
    )
    add("--verbose", action="store_true", help="say more, and where in the code an error came from")
    return parser.parse_args(arguments)


def prepare(options: argparse.Namespace, command: str) -> "Run":
    """Return the run that the options ask for: a new one, or one to go on with."""
    from training.config import TrainingConfig, make_config
    from training.run import Run
    from training.run_folders import finished_head, new_folder, unfinished_run

    if options.resume is not None:
        folder = unfinished_run(RUNS) if options.resume == Path() else options.resume
        if not (folder / "config.json").exists():
            raise FileNotFoundError(f"{folder} holds no run to resume: it has no config.json.")
        config = TrainingConfig.load(folder / "config.json")
        return Run(config, folder, data_dir=options.data_dir, command=command)

    names = (
        "phase",
        "model",
        "recipe",
        "epochs",
        "learning_rate",
        "batch_size",
        "augment",
        "views",
        "head",
        "weights",
        "unfreeze",
        "image_size",
        "seed",
        "limit",
        "cache",
        "cache_dtype",
        "validation",
        "precision",
        "blend",
    )
    config = make_config(**{name: getattr(options, name) for name in names})
    folder = options.output or new_folder(config, RUNS)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty. Go on with it by --resume {folder}, or name another --output.")
    return Run(config, folder, data_dir=options.data_dir, command=command, head_run=finished_head(config, RUNS))


def summary(folder: Path, metrics: dict) -> str:
    """Return the last lines that a person sees."""
    seconds = metrics["seconds"]
    stages = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items() if name != "total" and value >= 1)
    averaged = f"\nAveraged over views {metrics['tta']['accuracy']:.2%}" if "tta" in metrics else ""
    return (
        f"\nTest accuracy {metrics['accuracy']:.2%} on {metrics['images']:,} images "
        f"(validation {metrics['validation_accuracy']:.2%}), macro F1 {metrics['macro']['f1']:.4f}{averaged}\n"
        f"{seconds['total']:.0f} s in all: {stages}\n"
        f"Model, metrics and plots: {folder}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Train, and return the exit status: 0 done, 1 failed, 2 bad option, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse_arguments(arguments)
    logging.basicConfig(level=logging.DEBUG if options.verbose else logging.INFO, format="%(message)s")
    for noisy in VERBOSE_LOGGERS:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Here, not above: TensorFlow takes seconds to import, and --help and a wrong option should answer at once.

    with quiet():
        import training.run  # noqa: F401
        from training.listing import catalogue

    if options.list:
        print(catalogue())
        return 0
    try:
        run = prepare(options, shlex.join(["python", "train.py", *arguments]))
    except (ValueError, OSError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    try:
        metrics = run.complete()
    except KeyboardInterrupt:
        started = (run.folder / "checkpoint.npz").exists()
        advice = (
            f"Go on with: python train.py --resume {run.folder}"
            if started
            else "Nothing was trained yet: start it again."
        )
        print(f"\nInterrupted. {advice}", file=sys.stderr)
        return 130
    except (ArithmeticError, RuntimeError, ValueError, OSError) as error:  # all that the libraries raise on purpose
        logging.debug("The run stopped here:", exc_info=True)
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    print(summary(run.folder, metrics))
    return 0


if __name__ == "__main__":
    sys.exit(main())
