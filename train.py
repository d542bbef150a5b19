"""Train an image classifier: freeze an ImageNet backbone, train its head, then fine-tune its last layers.

python train.py                                      MobileNetV2, both phases of recipe reference
python train.py --phase head                         the head alone, on the frozen backbone (3 minutes)
python train.py --recipe strong                      the most accurate: linear probe, then AdamW
python train.py --model speedrun_cnn                 a small CNN from scratch in ten epochs
python train.py --limit 2000                         a quick try on 2,000 images
python train.py --recipe strong --explain            what a recipe does to a network, without training
python train.py --list                               the networks and the recipes
python train.py --resume                             resume the run that was interrupted last
"""

import argparse
import logging
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported, which would log into progress bars

from runtime.quiet import VERBOSE_LOGGERS, quiet
from training.recipes import list_recipes

if TYPE_CHECKING:
    from training.config import TrainingConfig
    from training.run import Run

RUNS = Path("runs")
NO_SETTINGS = {"list", "explain", "resume", "output", "data_dir", "verbose"}  # options that are not in TrainingConfig


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line. `--help` shows the common options, `--help-all` all of them."""

    def rest(text: str) -> str:
        return text if "--help-all" in arguments else argparse.SUPPRESS

    parser = argparse.ArgumentParser(
        description=__doc__,
        usage="python train.py [options]",
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=27),
    )
    add = parser.add_argument
    add("--help-all", action="help", help="show every option: data, model, optimisation, advanced")
    add("--list", action="store_true", help="print the networks and the recipes, and exit")
    add("--explain", action="store_true", help="print what this command would do, and exit")
    add("--model", default="mobilenet_v2", metavar="NAME", help="--list shows them (default: mobilenet_v2)")
    recipe = "--list shows them (default: the one made for the network, else reference)"
    add("--recipe", choices=list_recipes(), metavar="NAME", help=recipe)
    phase = "last phase: head, finetune (runs head first) or scratch"
    add("--phase", choices=("head", "finetune", "scratch"), metavar="NAME", help=phase)
    add("--unfreeze", metavar="N", help="layers to fine-tune: a number, a block such as block_13, or all")
    add("--epochs", type=float, metavar="N", help="maximum number of epochs of the last phase")
    add("--learning-rate", type=float, metavar="X", help="peak learning rate of the last phase")
    add("--batch-size", type=int, metavar="N", help="images per step")
    add("--augment", metavar="NAMES", help="random augmentations such as flip,crop, or none")
    add("--seed", type=int, default=0, metavar="N", help="of split, weights, order, augmentation (default: 0)")
    add("--limit", type=int, metavar="N", help="use only the first N training and test images")
    add("--output", type=Path, metavar="FOLDER", help="default: runs/<model>-<recipe>-<phase>-seed<seed>")
    resumed = "resume a run with its own options (default: the latest)"
    add("--resume", nargs="?", type=Path, const=Path(), metavar="RUN", help=resumed)

    add = parser.add_argument_group("data").add_argument
    where = "CIFAR-10: cifar-10-python.tar.gz, its folder, or an .npz (default: fetched and cached)"
    add("--data-dir", metavar="PATH", help=rest(where))
    held_back = "number of training images held back for validation (default: the recipe's, or a tenth)"
    add("--validation", type=int, metavar="N", help=rest(held_back))
    views = (
        "comma-separated fixed views, one an epoch in turn: identity first, then flip, translate_DOWN_RIGHT in pixels, jpeg_30 "
        "or another corruption, or several joined as in flip+translate_2_-2; robust (the views of that recipe); or none. "
        "Views keep the activation cache; random augmentations other than flip alone do not"
    )
    add("--views", metavar="NAMES", help=rest(views))

    add = parser.add_argument_group("model").add_argument
    add("--head", metavar="NAME", help=rest("the layers on top of the backbone, such as dense or linear"))
    files = "imagenet, keras, none, or a file: .keras, .weights.h5, .pt, .pth, .bin, .safetensors, .ckpt"
    add("--weights", metavar="FROM", help=rest(files))
    add("--image-size", type=int, metavar="S", help=rest("side of the model's square input in pixels"))

    add = parser.add_argument_group("optimisation").add_argument
    average = "train by this recipe as well and average the weights of both (WiSE-FT), or none"
    add("--average-with", "--blend", metavar="RECIPE", help=rest(average))
    precision = "of the arithmetic in training (default: the recipe's; float32 where bfloat16 is slow)"
    add("--precision", choices=("float32", "mixed_bfloat16"), help=rest(precision))

    add = parser.add_argument_group("advanced").add_argument
    add("--no-cache", dest="cache", action="store_false", help=rest("run the frozen layers again in every step"))
    add("--cache-dtype", choices=("float16", "float32"), help=rest("of cached activations (default: float16)"))
    add("--verbose", action="store_true", help=rest("log more, and the traceback of an error"))
    return parser.parse_args(arguments)


def configure(options: argparse.Namespace) -> "TrainingConfig":
    """Build the training config from the options."""
    from training.config import make_config

    return make_config(**{name: value for name, value in vars(options).items() if name not in NO_SETTINGS})


def prepare(options: argparse.Namespace, command: str) -> "Run":
    """Create the run from the options, or open the one to resume."""
    from training.config import TrainingConfig
    from training.run import Run
    from training.run_folders import finished_head, new_folder, unfinished_run

    if options.resume is not None:
        folder = unfinished_run(RUNS) if options.resume == Path() else options.resume
        if not (folder / "config.json").exists():
            raise FileNotFoundError(f"{folder} holds no run to resume: it has no config.json.")
        config = TrainingConfig.load(folder / "config.json")
        return Run(config, folder, data_dir=options.data_dir, command=command)
    config = configure(options)
    folder = options.output or new_folder(config, RUNS)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty. Resume it with --resume {folder}, or choose another --output.")
    return Run(config, folder, data_dir=options.data_dir, command=command, head_run=finished_head(config, RUNS))


def summary(folder: Path, metrics: dict) -> str:
    """Return the result of a run as text."""
    seconds = metrics["seconds"]
    stages = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items() if name != "total" and value >= 1)
    tta = f"\nTest accuracy {metrics['tta']['accuracy']:.2%} with test-time augmentation" if "tta" in metrics else ""
    return (
        f"\nTest accuracy {metrics['accuracy']:.2%} on {metrics['images']:,} images "
        f"(validation {metrics['validation_accuracy']:.2%}), macro F1 {metrics['macro']['f1']:.4f}{tta}\n"
        f"{seconds['total']:.0f} s in total: {stages}\n"
        f"Model, metrics and plots: {folder}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Train, and return the exit status: 0 done, 1 failed, 2 wrong option, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse_arguments(arguments)
    logging.basicConfig(level=logging.DEBUG if options.verbose else logging.INFO, format="%(message)s")
    for noisy in VERBOSE_LOGGERS:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with quiet():  # here, because TensorFlow takes seconds to import, which --help need not wait for
        import training.run  # noqa: F401
        from training.listing import explain, list_networks, list_recipe_lines

    try:
        if options.list:
            print(f"{list_networks()}\n\n{list_recipe_lines()}")
            return 0
        if options.explain:
            print(explain(configure(options)))
            return 0
        run = prepare(options, shlex.join(["python", "train.py", *arguments]))
    except (ValueError, OSError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    try:
        metrics = run.complete()
    except KeyboardInterrupt:
        started = (run.folder / "checkpoint.npz").exists()
        advice = f"Resume with: python train.py --resume {run.folder}" if started else "Nothing was trained yet."
        print(f"\nInterrupted. {advice}", file=sys.stderr)
        return 130
    except (ArithmeticError, RuntimeError, ValueError, OSError) as error:  # what the libraries raise deliberately
        logging.debug("Traceback of the error:", exc_info=True)
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    print(summary(run.folder, metrics))
    return 0


if __name__ == "__main__":
    sys.exit(main())
