"""Rows of the tables of training. Each function takes all results by name and returns the rows for `tables.toml`."""

import itertools
import shlex
import statistics
from collections.abc import Mapping
from typing import Any

from benchmarks.measures.training_time import cost_ratios, timed_run

Rows = list[dict[str, Any]]
SIGNIFICANT = 0.05
SHOWN = (  # the rows of the README's first table: network, recipe with its changed options
    ("efficientnet_lite0", "robust"),
    ("mobilenet_v2", "strong"),
    ("speedrun_cnn", "speedrun"),
    ("mobilenet_v2", "reference"),
    ("custom_cnn", "reference --views robust"),
)


def models(stored: Mapping) -> Rows:
    """The README's first table; the reference recipe is a mean over seeds."""
    rows = [row for row in accuracy(stored) if (row["model"], row["changed_recipe"]) in SHOWN]
    if spread := stored.get("reference", {}).get("finetune"):
        seconds = [run["seconds"]["total"] for run in stored["reference"]["runs"] if run["phase"] == "finetune"]
        several = {"accuracy": spread["accuracy_mean"], "n": spread["n"], "minutes": statistics.mean(seconds) / 60}
        rows = [row | several if row["changed_recipe"] == "reference" else row for row in rows]
    return sorted(rows, key=lambda row: -row["accuracy"])


def accuracy(stored: Mapping) -> Rows:
    """The rows of `accuracy.json`, averaged over seeds, the best first."""
    groups: dict[tuple, list[dict]] = {}
    for run in stored["accuracy"]["runs"]:
        recipe = f"{run['recipe']} {changed_options(run['command'])}".strip()
        groups.setdefault((run["model"], recipe, run["hardware"]), []).append(run)
    rows = []
    for (_, recipe, hardware), runs in groups.items():
        found, averaged = ([run[name] for run in runs] for name in ("accuracy", "accuracy_tta"))
        means = {
            "n": len(runs),
            "changed_recipe": recipe,
            "short_command": runs[0]["command"].removesuffix(" --precision mixed_bfloat16"),
            "accuracy": statistics.mean(found),
            "points": 100 * statistics.stdev(found) if len(found) > 1 else None,
            "accuracy_tta": None if None in averaged else statistics.mean(averaged),
            "minutes": statistics.mean(run["seconds"]["total"] for run in runs) / 60,
            "millions": runs[0]["parameters"]["total"] / 1e6,
            "processor": _processor(hardware),
        }
        rows.append(runs[0] | means)
    return sorted(rows, key=lambda row: -row["accuracy"])


def changed_options(command: str) -> str:
    """Return the options of a training command that change its recipe."""
    options = shlex.split(command)[2:]
    others = {"--model", "--recipe", "--seed", "--precision"}
    pairs = zip(options[::2], options[1::2], strict=True)
    return " ".join(f"{option} {value}" for option, value in pairs if option not in others)


def reference(stored: Mapping) -> Rows:
    """The reference recipe over seeds."""
    phases = {"head": "frozen backbone, new head", "finetune": "then the last 50 layers at 1e-5"}
    rows = [{"phase": phase, "trains": trains, **stored["reference"][phase]} for phase, trains in phases.items()]
    return [
        row | {"command": f"python train.py --phase {row['phase']}", "points": _points(row["accuracy_deviation"])}
        for row in rows
    ]


def training_cost(stored: Mapping) -> Rows:
    """Training times with and without the activation cache, and their ratios."""
    result, (ratios, lengths) = stored["training_cost"], speedup(stored)
    rows = []
    for phase, epochs in result["epochs"]["measured"].items():
        seconds = [result[way]["seconds"][phase] / epochs for way in ("plain", "cached")]
        rows.append((f"one epoch of phase {phase}", *seconds, ratios[f"{phase}_epoch"]))
    rows.append(("frozen layers, once", None, result["cached"]["seconds"]["cache"], None))
    head, whole = f"{lengths['head']} epochs", f"{lengths['head']} + {lengths['finetune']} epochs"
    rows.append((f"phase head, {head}, with the frozen layers", None, None, ratios["head_with_cache"]))
    rows.append((f"both phases, {whole}, with the frozen layers", None, None, ratios["whole"]))
    return [dict(zip(("part", "plain", "cached", "ratio"), row, strict=True)) for row in rows]


def speedup(stored: Mapping) -> tuple[dict[str, float], dict[str, int]]:
    """Return the ratios of `cost_ratios` and the mean epochs of the reference recipe's runs."""
    cost = stored["training_cost"]
    lengths = dict(cost["epochs"]["measured"])
    for phase in lengths:
        runs = stored.get("reference", {}).get("runs", [])
        if taken := [run["epochs"][phase] for run in runs if run["epochs"].get(phase)]:
            lengths[phase] = round(statistics.mean(taken))
    return cost_ratios(cost, lengths), lengths


def time_to_accuracy(stored: Mapping) -> tuple[Rows, list[tuple[str, str]]]:
    """Minutes until each threshold, with a column for each."""
    rows = []
    for run in stored["time_to_accuracy"]["runs"]:
        minutes = {name: None if found is None else found / 60 for name, found in run["seconds_until"].items()}
        epochs = f"{run['epochs']['head']} + {run['epochs']['finetune']}"
        highest = max(point["accuracy"] for point in run["curve"])
        rows.append({"way": run["way"], "epochs": epochs, "highest": highest, **minutes})
    return rows, [(name, f"{{{name}:.1f}} min") for name in stored["time_to_accuracy"]["runs"][0]["seconds_until"]]


def comparison(stored: Mapping) -> Rows:
    """The controlled comparison: accuracies and costs."""
    times = {(row["model"], row["engine"]): row["median_ms"] for row in stored.get("latency", {}).get("runs", [])}
    return [
        row
        | {
            "n": len(row["runs"]),
            "points": _points(row["accuracy_deviation"]),
            "interval": "{:.1%} – {:.1%}".format(*row["accuracy_interval"]),
            "frozen_minutes": row["frozen_seconds"] / 60,
            "training_minutes": row["training_seconds"] / 60,
            "processor": _processor(timed_run(row["runs"])["hardware"]),
            "megaflops": row["flops"] / 1e6,
            **{engine: times.get((row["model"], engine)) for engine in ("onnxruntime", "keras")},
        }
        for row in stored["comparison"]["models"]
    ]


def comparison_pairs(stored: Mapping) -> Rows:
    """Each network against the next one of the ranking."""
    names = [row["model"] for row in stored["comparison"]["models"]]
    return [pair(stored["comparison"], *two) for two in itertools.pairwise(names)]


def pair(result: Mapping, first: str, second: str) -> dict[str, Any]:
    """Return the test of two networks, `first` before `second`, with its `verdict` on the first."""
    found = next(each for each in result["pairs"] if {each["first"], each["second"]} == {first, second})
    counts = found["only_first"], found["only_second"]
    ahead, behind = counts if found["first"] == first else counts[::-1]
    significant = found["p_holm"] < SIGNIFICANT
    verdict = "not significantly different" if not significant else "better" if ahead > behind else "worse"
    return {**found, "first": first, "second": second, "only_first": ahead, "only_second": behind, "verdict": verdict}


def best_backbones(result: Mapping) -> dict[str, Any] | None:
    """Compare the best frozen backbone with the best network from scratch; None if the result lacks one of them.

    Returns:
        `frozen` and `scratch`, their rows; `count` of frozen backbones; of the best one `points` above the other, `verdict`,
        `parameter_share` and `time_share` (None if timed on different machines); `overtaken`, the frozen backbones that the
        best network from scratch beats significantly.
    """
    scratch = [row for row in result["models"] if row["phase"] == "scratch"]
    frozen = [row for row in result["models"] if row["phase"] != "scratch"]
    if not frozen or not scratch:
        return None
    best, other = frozen[0], scratch[0]
    same_machine = len({timed_run(row["runs"])["hardware"] for row in (best, other)}) == 1
    seconds = [row["frozen_seconds"] + row["training_seconds"] for row in (best, other)]
    ahead = 100 * (best["accuracy_mean"] - other["accuracy_mean"])
    verdict = pair(result, best["model"], other["model"])["verdict"]
    if verdict != ("better" if ahead > 0 else "worse"):  # the first seeds disagree with the means
        verdict = "not significantly different"
    verdicts = {row["model"]: pair(result, other["model"], row["model"])["verdict"] for row in frozen}
    return {
        "frozen": best,
        "scratch": other,
        "count": len(frozen),
        "points": ahead,
        "verdict": verdict,
        "parameter_share": best["parameters"]["trainable"] / other["parameters"]["trainable"],
        "time_share": seconds[0] / seconds[1] if same_machine else None,
        "overtaken": [name for name, each in verdicts.items() if each == "better"],
    }


def _points(deviation: float | None) -> float | None:
    return None if deviation is None else 100 * deviation


def _processor(hardware: str) -> str:
    return hardware.split(", ")[0]


ROWS = {each.__name__: each for each in (models, accuracy, reference, training_cost, time_to_accuracy)}
ROWS |= {"comparison": comparison, "comparison_costs": comparison, "comparison_pairs": comparison_pairs}
