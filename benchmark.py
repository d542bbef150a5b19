"""Measure what the project states. Each option writes one file under results/; --readme renders them into README.md.

python benchmark.py --reference        accuracy of the reference recipe over seeds (several hours; finished runs are kept)
python benchmark.py --training-cost    the boundary cache against the plain way, side by side (about 30 minutes)
python benchmark.py --networks         every network whose weights can be had, by the reference recipe (about an hour)
python benchmark.py --accuracy         every network by the recipe that takes it furthest (hours; --models, --word)
python benchmark.py --ablation         the strong recipe with one thing changed at a time, on validation (an hour; --changes)
python benchmark.py --time-to-accuracy strong, reference and plain Keras: minutes until 90, 92 and 94 % (two hours)
python benchmark.py --step-cost        training steps of speedrun_cnn by batch size, precision and oneDNN (four minutes)
python benchmark.py --budget controlled  every network under one budget, from scratch or pretrained (hours; --models, --seeds)
python benchmark.py --evaluation       the shipped models in detail: calibration, confusions, doubtful images (two minutes)
python benchmark.py --latency          the answer times of the compared networks (minutes; twice: does the ranking hold?)
python benchmark.py --domain-gap STAGE shipped models on what people upload, recorded as STAGE (--models picks some)
python benchmark.py --fits             how an upload should become the input, on validation images (half an hour; --models)
python benchmark.py --upload-cost      what the fit and the look for pictures of other things add to an answer (minutes)
python benchmark.py --robust-views     what views of small and compressed pictures give, on validation (hours; --sets)
python benchmark.py --blend RUN        how much of each recipe makes the best average of weights, on validation (minutes)
python benchmark.py --ood_detector          what tells pictures of other things (--models, --outside; needs requirements-dev.txt)
python benchmark.py --linear-probe     logistic regression on their frozen features, the check of the ports (half an hour)
python benchmark.py --parity           each port against its original (about 3 minutes; needs requirements-dev.txt)
python benchmark.py --serving          the API against a plain model.predict app: requests/s, memory (about 6 minutes)
python benchmark.py --stopping         what is lost when a worker is killed, and when the server is stopped (two minutes)
python benchmark.py --fresh-clone      the README's two commands in a fresh clone (about an hour)
python benchmark.py --readme           write the tables of README.md from results/*.json
python benchmark.py --report           write results/REPORT.md and the self-contained results/report.html from the same files
"""

import argparse
import dataclasses
import json
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.experiments.uploads import Answer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

RESULTS, RUNS = Path("results"), Path("runs")
EXAMPLE = Path("deploy/examples/cat.jpg")


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    for name in (
        "reference",
        "training-cost",
        "networks",
        "accuracy",
        "ablation",
        "time-to-accuracy",
        "step-cost",
        "evaluation",
        "latency",
        "fits",
        "upload-cost",
        "robust-views",
        "ood_detector",
        "linear-probe",
        "parity",
        "serving",
        "stopping",
        "fresh-clone",
        "readme",
        "report",
    ):
        what.add_argument(f"--{name}", action="store_true")
    what.add_argument("--budget", choices=("controlled",), help="train every network under the same budget")
    what.add_argument(
        "--blend", type=Path, metavar="RUN", help="the folder of a run by recipe robust, or another with a blend"
    )
    what.add_argument("--domain-gap", metavar="STAGE", help="the name that the result gets, such as before or after")
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        metavar="N",
        help="one number: that many runs, with the seeds 0, 1, …; several: these seeds (default: 3 for --budget, 1 for "
        "--accuracy)",
    )
    parser.add_argument("--head-seeds", type=int, default=3, help="runs of phase head (default: %(default)s)")
    parser.add_argument("--finetune-seeds", type=int, default=2, help="runs of both phases (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=1, help="of each phase in --training-cost (default: %(default)s)")
    parser.add_argument(
        "--model", type=Path, help="folder of the model in --serving (default: the best in saved_models/)"
    )
    parser.add_argument("--seconds", type=float, default=60, help="of each load in --serving (default: %(default)s)")
    parser.add_argument(
        "--models",
        nargs="+",
        default=(),
        help="names of networks for --accuracy, --budget, --domain-gap, --fits or --ood_detector (default: all; of --domain-gap and "
        "--fits four that ship)",
    )
    parser.add_argument(
        "--word", default="", help='one of a command line, such as "robust": --accuracy runs only commands that hold it'
    )
    parser.add_argument(
        "--changes", nargs="+", default=(), help='words of the changes in --ablation, such as "EMA" (default: all)'
    )
    parser.add_argument(
        "--sets", nargs="+", default=(), help='names of the sets in --robust-views, such as "and both" (default: all)'
    )
    parser.add_argument(
        "--outside",
        type=Path,
        metavar="FOLDER",
        help="with folders of pictures near-NAME and far-NAME, for --ood_detector; `python -m benchmarks.data.ood_datasets FOLDER` makes one",
    )
    parser.add_argument("--limit", type=int, help="--training-cost on the first n images only")
    options = parser.parse_args(arguments)
    if options.seeds and len(options.seeds) == 1 and options.seeds[0] < 1:
        parser.error(f"--seeds must be at least 1 run, or several seeds. Received: {options.seeds[0]}")
    if options.domain_gap == "":
        parser.error("--domain-gap needs a name for the stage, such as before")
    return options


def serving_result(model: Path | None, seconds: float) -> dict:
    """Measure the API and return the result."""
    from benchmarks.experiments.reference import record
    from benchmarks.experiments.serving import serving
    from inference.model_store import SAVED_MODELS, ModelStore

    model = model or SAVED_MODELS / ModelStore().default
    return record(RESULTS / "serving.json", serving(model, EXAMPLE, seconds))


def latency_result() -> dict:
    """Time the networks of the comparison, with random weights, and return the result."""
    from benchmarks.experiments.comparison import COMPARED, save_untrained
    from benchmarks.experiments.latency import measure_latency, same_ranking, ties
    from benchmarks.experiments.reference import record
    from training.provenance import describe_hardware

    path = RESULTS / "latency.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    earlier = before["runs"] if before.get("hardware") == describe_hardware() else []
    with tempfile.TemporaryDirectory() as untrained:
        rows = measure_latency({name: save_untrained(name, Path(untrained, name)) for name in COMPARED})
    return record(path, {"runs": rows, "ties": ties(rows), "same_ranking": same_ranking(earlier, rows)})


def seed_numbers(given: Sequence[int]) -> Sequence[int]:
    """Return the seeds that `--seeds` stands for: one number is how many, several are the seeds themselves."""
    return range(given[0]) if len(given) == 1 else given


def open_model(folder: Path, **changes) -> "Answer":
    """Return what answers uploads by a saved model, as the API does, with changes of its card if there are any."""
    import numpy as np

    from inference.classifier import Classifier, load_classifier

    shipped = load_classifier(folder)
    classifier = Classifier(dataclasses.replace(shipped.card, **changes), shipped.engine)
    return lambda sources: np.array([list(each.probabilities.values()) for each in classifier.classify(list(sources))])


def domain_gap_result(stage: str, models: Sequence[str]) -> dict:
    """Ask the shipped models what people upload, and return the result."""
    from benchmarks.experiments.uploads import MODELS, domain_gap

    return domain_gap(open_model, Path("saved_models"), RESULTS, stage, models or MODELS)


def novelty_result(models: Sequence[str], folder: Path | None) -> dict:
    """Compare the scores of ood_detector for shipped models, and return the result."""
    from benchmarks.experiments.ood_detection import ood_detection
    from inference.classifier import load_classifier
    from inference.model_store import ModelStore

    return ood_detection(load_classifier, Path("saved_models"), RESULTS, models or ModelStore().cards, folder)


def fits_result(models: Sequence[str]) -> dict:
    """Ask the shipped models validation images fitted in each way, and return the result."""
    from training.measure_fits import measure_fits

    from benchmarks.experiments.uploads import MODELS
    from training.data.cifar10 import load_cifar10

    resolution = load_cifar10().x_train.shape[1]

    def fitted(folder: Path, how: str) -> "Answer":
        return open_model(folder, fit=how, resolution=resolution)

    return measure_fits(fitted, Path("saved_models"), RESULTS, models or MODELS)


def upload_cost_result() -> dict:
    """Time the shipped models on uploads, as they ship and the plain way, and return the result."""
    from benchmarks.experiments.latency import measure_uploads
    from benchmarks.experiments.reference import record
    from inference.model_store import SAVED_MODELS

    folders = {card.parent.name: card.parent for card in sorted(SAVED_MODELS.glob("*/card.json"))}
    return record(RESULTS / "upload_cost.json", {"runs": measure_uploads(folders, EXAMPLE)})


def stopping_result() -> dict:
    """Measure what a kill and a stop lose, and return the result."""
    from benchmarks.experiments.reference import record
    from benchmarks.experiments.stopping import stopping
    from inference.model_store import SAVED_MODELS

    return record(RESULTS / "stopping.json", stopping(SAVED_MODELS, EXAMPLE))


def result_of(options: argparse.Namespace) -> dict | None:
    """Measure what the options ask for, and return the result; None where results are only rendered."""
    if options.readme:
        from benchmarks.report.readme import write_readme

        write_readme(Path("README.md"), RESULTS)
        return None
    if options.report:
        from benchmarks.report.report import write_report

        write_report(RESULTS)
        return None
    from training import (
        comparison,
        measure,
        measure_blend,
        measure_networks,
        measure_recipes,
        measure_views,
        shelf_evaluation,
        step_cost,
    )

    if options.serving:
        return serving_result(options.model, options.seconds)
    if options.stopping:
        return stopping_result()
    if options.latency:
        return latency_result()
    if options.evaluation:
        return shelf_evaluation.evaluate_saved_models(Path("saved_models"), RESULTS)
    if options.fits:
        return fits_result(options.models)
    if options.upload_cost:
        return upload_cost_result()
    if options.domain_gap:
        return domain_gap_result(options.domain_gap, options.models)
    if options.robust_views:
        return measure_views.measure_views(RUNS, RESULTS, options.sets)
    if options.blend:
        return measure_blend.measure_blend(options.blend, RESULTS)
    if options.ood_detector:
        return novelty_result(options.models, options.outside)
    if options.budget:
        return comparison.controlled(RUNS, RESULTS, options.models, seed_numbers(options.seeds or [3]))
    if options.reference:
        return measure.reference(
            RUNS, RESULTS, head_seeds=range(options.head_seeds), finetune_seeds=range(options.finetune_seeds)
        )
    if options.training_cost:
        return measure.training_cost(RESULTS, epochs=options.epochs, limit=options.limit)
    if options.linear_probe:
        return measure_networks.linear_probe(RESULTS)
    if options.networks:
        return measure_networks.networks(RUNS, RESULTS)
    if options.accuracy:
        return measure_recipes.accuracy(RUNS, RESULTS, options.models, seed_numbers(options.seeds or [1]), options.word)
    if options.ablation:
        return measure_recipes.ablation(RUNS, RESULTS, options.changes)
    if options.time_to_accuracy:
        return measure_recipes.time_to_accuracy(RUNS, RESULTS)
    if options.step_cost:
        return step_cost.step_cost(RESULTS)
    if options.parity:
        return measure_networks.parity(RESULTS)
    return measure.fresh_clone(RESULTS, RUNS)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the result, and return the exit status: 0 done, 1 failed, 130 interrupted."""
    options = parse_arguments(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        result = result_of(options)
    except KeyboardInterrupt:
        print("\nInterrupted. Rows that were finished are recorded.", file=sys.stderr)
        return 130
    except (ArithmeticError, RuntimeError, ValueError, OSError) as error:  # all that the measurements raise on purpose
        logging.debug("The measurement stopped here:", exc_info=True)
        print(f"benchmark.py: {error}", file=sys.stderr)
        return 1
    if result is not None:
        print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
