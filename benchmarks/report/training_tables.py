"""Tables of training: accuracy, time, and the controlled comparison. Each function takes all results by name."""

import itertools
import shlex
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.measures.training_time import cost_ratios, timed_run
from benchmarks.report.tables import Column, Table, points

SIGNIFICANT = 0.05
SHOWN = (  # the five rows of the README's first table: network, recipe, options that change the recipe
    ("efficientnet_lite0", "robust", ""),
    ("mobilenet_v2", "strong", ""),
    ("speedrun_cnn", "speedrun", ""),
    ("mobilenet_v2", "reference", ""),
    ("custom_cnn", "reference", "--views robust"),
)


def models(stored: Mapping) -> Table:
    """The README's first table: what to expect of five commands."""
    found = {(row["model"], row["recipe"], row["options"]): row for row in accuracy_rows(stored)}
    rows = [found[key] for key in SHOWN if key in found]
    spread = stored.get("reference", {}).get("finetune")
    if spread:  # several seeds, where accuracy.json has one
        several = {"accuracy": spread["accuracy_mean"], "n": spread["n"]}
        rows = [{**row, **several} if row["recipe"] == "reference" and not row["options"] else row for row in rows]
    columns = (
        Column("model", "model", mark="`"),
        Column("test accuracy", "accuracy", "{:.2%}", "**"),
        Column("n", "n", "{:d}"),
        Column("minutes", lambda row: row["seconds"]["total"] / 60, "{:.0f}"),
        Column("parameters", lambda row: row["parameters"]["total"] / 1e6, "{:.1f} M"),
        Column("command", "short_command", mark="`"),
    )
    return Table("Models", columns, sorted(rows, key=lambda row: -row["accuracy"]))


def accuracy(stored: Mapping) -> Table:
    """Every network by its recipe."""
    columns = (
        Column("network", "model", mark="`"),
        Column("recipe", lambda row: f"{row['recipe']} {row['options']}".strip(), mark="`"),
        Column("input", "image_size", "{:d} px"),
        Column("parameters", lambda row: row["parameters"]["total"], "{:,}"),
        Column("test accuracy", "accuracy", "{:.2%}", "**"),
        Column("± points", lambda row: points(row["deviation"]), "{:.2f}"),
        Column("with TTA", "accuracy_tta", "{:.2%}"),
        Column("runs", "n", "{:d}"),
        Column("published elsewhere", "published", "{:.2%}"),
        Column("target", "target", "{:.1%}"),
        Column("minutes", lambda row: row["seconds"]["total"] / 60, "{:.0f}"),
        Column("hardware", lambda row: row["hardware"].split(", ")[0]),
    )
    return Table("Each network by its recipe", columns, accuracy_rows(stored))


def accuracy_rows(stored: Mapping) -> list[dict[str, Any]]:
    """Return the rows of `accuracy.json`, the best first, with the runs of several seeds averaged into one."""
    groups: dict[tuple, list[dict]] = {}
    for run in stored["accuracy"]["runs"]:
        groups.setdefault((run["model"], run["recipe"], changed_options(run["command"]), run["hardware"]), []).append(
            run
        )
    rows = []
    for (*_, options, _), runs in groups.items():
        found, averaged = [run["accuracy"] for run in runs], [run["accuracy_tta"] for run in runs]
        row = {
            **runs[0],
            "n": len(runs),
            "options": options,
            "short_command": " ".join(runs[0]["command"].removesuffix(" --precision mixed_bfloat16").split()),
            "accuracy": statistics.mean(found),
            "deviation": statistics.stdev(found) if len(found) > 1 else None,
            "accuracy_tta": None if None in averaged else statistics.mean(averaged),
            "seconds": {"total": statistics.mean(run["seconds"]["total"] for run in runs)},
        }
        rows.append(row)
    return sorted(rows, key=lambda row: -row["accuracy"])


def changed_options(command: str) -> str:
    """Return the options of a training command that change its recipe."""
    options = shlex.split(command)[2:]
    others = {"--model", "--recipe", "--seed", "--precision"}
    pairs = zip(options[::2], options[1::2], strict=True)
    return " ".join(f"{option} {value}" for option, value in pairs if option not in others)


def reference(stored: Mapping) -> Table:
    """The reference recipe over seeds."""
    result = stored["reference"]
    phases = {"head": "frozen backbone, new head", "finetune": "then the last 50 layers at 1e-5"}
    rows = [{"phase": phase, "trains": trains, **result[phase]} for phase, trains in phases.items()]
    columns = (
        Column("command", lambda row: f"python train.py --phase {row['phase']}", mark="`"),
        Column("trains", "trains"),
        Column("test accuracy", "accuracy_mean", "{:.2%}", "**"),
        Column("± points", lambda row: points(row["accuracy_deviation"]), "{:.2f}"),
        Column("runs", "n", "{:d}"),
    )
    return Table("The reference recipe", columns, rows)


def training_cost(stored: Mapping) -> Table:
    """The activation cache against plain Keras."""
    result, (ratios, lengths) = stored["training_cost"], speedup(stored)
    epochs = result["epochs"]["measured"]
    per_epoch = {way: {p: result[way]["seconds"][p] / epochs[p] for p in epochs} for way in ("plain", "cached")}
    whole = f"{lengths['head']} + {lengths['finetune']}"
    frozen = result["cached"]["seconds"]["cache"]
    rows = [
        (f"one epoch of phase {phase}", per_epoch["plain"][phase], per_epoch["cached"][phase], ratios[f"{phase}_epoch"])
        for phase in epochs
    ]
    rows.append(("frozen layers, once", None, frozen, None))
    rows.append(
        (f"phase head, {lengths['head']} epochs, with the frozen layers", None, None, ratios["head_with_cache"])
    )
    rows.append((f"both phases, {whole} epochs", None, None, ratios["whole"]))
    formats = ("{}", "{:.0f} s", "{:.0f} s", "{:.1f}×")
    headers = ("training time", "plain Keras (`--no-cache`)", "Thaw", "ratio")
    columns = [Column(header, lambda row, i=i: row[i], formats[i]) for i, header in enumerate(headers)]
    return Table("Training time", columns, rows)


def speedup(stored: Mapping) -> tuple[dict[str, float], dict[str, int]]:
    """Return the ratios of `cost_ratios` and the epochs that the reference recipe takes, on average over its runs."""
    cost = stored["training_cost"]
    lengths = dict(cost["epochs"]["measured"])
    for phase in lengths:
        runs = stored.get("reference", {}).get("runs", [])
        if taken := [run["epochs"][phase] for run in runs if run["epochs"].get(phase)]:
            lengths[phase] = round(statistics.mean(taken))
    return cost_ratios(cost, lengths), lengths


def time_to_accuracy(stored: Mapping) -> Table:
    """Minutes until a validation accuracy."""
    result = stored["time_to_accuracy"]
    columns = [
        Column("recipe", "way"),
        Column("epochs", lambda row: f"{row['epochs']['head']} + {row['epochs']['finetune']}"),
    ]
    for threshold in result["runs"][0]["seconds_until"]:
        columns.append(Column(threshold, lambda row, at=threshold: _minutes(row["seconds_until"][at]), "{:.1f} min"))
    columns.append(Column("highest", lambda row: max(point["accuracy"] for point in row["curve"]), "{:.2%}"))
    return Table("Time to accuracy", columns, result["runs"])


def _minutes(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / 60


def comparison(stored: Mapping) -> Table:
    """All networks under the controlled budget."""
    columns = (
        Column("network", "model", mark="`"),
        Column("strategy", "strategy"),
        Column("status", "status"),
        Column("test accuracy", "accuracy_mean", "{:.2%}", "**"),
        Column("± points", lambda row: points(row["accuracy_deviation"]), "{:.2f}"),
        Column("runs", lambda row: len(row["runs"]), "{:d}"),
        Column("95 % interval", lambda row: "{:.1%} – {:.1%}".format(*row["accuracy_interval"])),
        Column("macro F1", "macro_f1", "{:.4f}"),
        Column("trainable parameters", "parameters.trainable", "{:,}"),
        Column("parameters", "parameters.total", "{:,}"),
        Column("frozen layers", lambda row: row["frozen_seconds"] / 60, "{:.1f} min"),
        Column("training", lambda row: row["training_seconds"] / 60, "{:.1f} min"),
        Column("timed on", lambda row: timed_run(row["runs"])["hardware"].split(", ")[0]),
    )
    return Table("One budget for all", columns, stored["comparison"]["models"])


def comparison_costs(stored: Mapping) -> Table:
    """What each network costs to store, to train and to run."""
    times = {(row["model"], row["engine"]): row for row in stored.get("latency", {}).get("runs", [])}
    columns = [
        Column("network", "model", mark="`"),
        Column("input", "image_size", "{:d} px"),
        Column("ONNX file", "file_mb", "{:.1f} MB"),
        Column("FLOPs", lambda row: row["flops"] / 1e6, "{:,.0f} M"),
        Column("CPU time of a run", "cpu_seconds", "{:,.0f} s"),
        Column("epochs to converge", "epochs_to_converge", "{:d}"),
    ]
    for engine, name in (("onnxruntime", "ONNX Runtime"), ("keras", "Keras")):
        columns.append(
            Column(name, lambda row, e=engine: times.get((row["model"], e), {}).get("median_ms"), "{:.1f} ms")
        )
    return Table("What it costs", columns, stored["comparison"]["models"])


def comparison_pairs(stored: Mapping) -> Table:
    """Each network against the next one of the ranking."""
    result = stored["comparison"]
    rows = [pair(result, *models) for models in itertools.pairwise(row["model"] for row in result["models"])]
    columns = (
        Column("network", "first", mark="`"),
        Column("next one", "second", mark="`"),
        Column("correct only by the first", "only_first", "{:,}"),
        Column("only by the second", "only_second", "{:,}"),
        Column("p", "p_holm", "{:.2g}"),
        Column("the first is", "verdict"),
    )
    return Table("Significance", columns, rows)


def pair(result: Mapping, first: str, second: str) -> dict[str, Any]:
    """Return the test of two networks, `first` before `second`, with its `verdict`."""
    for found in result["pairs"]:
        if {found["first"], found["second"]} == {first, second}:
            swapped = found["first"] == second
            ahead, behind = (
                found[f"only_{name}"] for name in (("second", "first") if swapped else ("first", "second"))
            )
            verdict = "better" if ahead > behind else "worse"
            if found["p_holm"] >= SIGNIFICANT:
                verdict = "not significantly different"
            counts = {"only_first": ahead, "only_second": behind}
            return {**found, "first": first, "second": second, **counts, "verdict": verdict}
    raise KeyError(f"{first} and {second} were not compared.")


def best_backbones(result: Mapping) -> dict[str, Any] | None:
    """Return the best frozen backbone and the best network from scratch; None if the result lacks one of them.

    Keys: `frozen` and `scratch`, their rows; `count` of the frozen backbones; `points`, by which the first is more accurate;
    `verdict` on the first; `parameter_share`; `time_share`, None if they were timed on different machines; `overtaken`, the
    frozen backbones that the best network from scratch beats significantly.
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
    return {
        "frozen": best,
        "scratch": other,
        "count": len(frozen),
        "points": ahead,
        "verdict": verdict,
        "parameter_share": best["parameters"]["trainable"] / other["parameters"]["trainable"],
        "time_share": seconds[0] / seconds[1] if same_machine else None,
        "overtaken": _beaten(result, other, frozen),
    }


def _beaten(result: Mapping, best: Mapping, rows: Sequence[Mapping]) -> list[str]:
    return [row["model"] for row in rows if pair(result, best["model"], row["model"])["verdict"] == "better"]
