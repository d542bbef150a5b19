"""Measure the results that the project reports, and render them.

python benchmark.py                 list the experiments, with their question and cost
python benchmark.py NAME --help     the options of one
python benchmark.py NAME            measure: writes results/NAME.json
python benchmark.py report          render results/REPORT.md, results/report.html and the tables of the demo
python benchmark.py readme          render the measured parts of the READMEs
"""

import argparse
import importlib
import json
import logging
import os
import sys
from pathlib import Path

from benchmarks.experiments import experiments

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

RENDERED = {
    "report": "render results/REPORT.md, results/report.html and the tables of the demo",
    "readme": "render the measured parts of the READMEs",
}
FORMER_NAMES = {"domain_gap": "uploads", "novelty": "ood_detection", "budget": "comparison"}


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand, and return the exit status: 0 done, 1 failed, 2 wrong argument, 130 interrupted."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    if name in ("", "-h", "--help"):
        print(overview())
        return 0
    name = FORMER_NAMES.get(name := name.removeprefix("--").replace("-", "_"), name)  # experiments were options
    if name not in (known := [*experiments(), *RENDERED]):
        print(f"benchmark.py: the first argument must be one of {', '.join(known)}. Received: {name}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        result = render(name, rest) if name in RENDERED else measure(name, rest)
    except KeyboardInterrupt:
        print("\nbenchmark.py: interrupted. Finished rows are recorded.", file=sys.stderr)
        return 130
    except (ArithmeticError, LookupError, RuntimeError, ValueError, OSError) as error:
        logging.debug("The measurement failed here:", exc_info=True)
        print(f"benchmark.py {name}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=2) if result else "Rendered.")
    return 0


def overview() -> str:
    """Return the help text: usage, and the experiments with question and cost."""
    lines = [f"  {name:18}{each['question']}\n{'':20}{each['cost']}" for name, each in experiments().items()]
    lines += [f"  {name:18}{what}" for name, what in RENDERED.items()]
    return "\n".join([__doc__, *lines])


def measure(name: str, arguments: list[str]) -> dict:
    """Run an experiment and return its result."""
    experiment = importlib.import_module(f"benchmarks.experiments.{name}")
    parser = _parser(name, experiment.__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of training runs (default: runs)")
    experiment.add_arguments(parser)
    return experiment.run(parser.parse_args(arguments))


def render(name: str, arguments: list[str]) -> None:
    """Render the report or the READMEs from the results."""
    results = _parser(name, RENDERED[name]).parse_args(arguments).results
    if name == "report":
        from benchmarks.report.report import write_report

        write_report(results)
    else:
        from benchmarks.report.readme import write_readmes

        write_readmes(results)


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=f"benchmark.py {name}", description=description, formatter_class=form)
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of results (default: results)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
