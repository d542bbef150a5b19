"""Markdown tables made from `results/*.json`, so that no number in prose is typed by hand.

A table function takes its result and all results by name, of which some tables show a second one.
"""

import itertools
import shlex
import statistics
from collections.abc import Callable

AS_IT_IS = "the recipe as it is"  # the row of the ablation that the others are held against


def from_file(name: str, table: Callable[[dict, dict], str], stored: dict[str, dict]) -> str:
    """Return a table of a result, with the file behind it in the small print that ends it."""
    return f"{table(stored[name], stored)} <sub>`results/{name}.json`</sub>"


def _reference(result: dict, stored: dict) -> str:
    rows = []
    for phase, what in (("head", "frozen backbone, new head"), ("finetune", "then the last 50 layers at 1e-5")):
        runs = [row for row in result["runs"] if row["phase"] == phase]
        spread = result[phase]
        deviation = "" if spread["accuracy_deviation"] is None else f" ± {100 * spread['accuracy_deviation']:.2f}"
        rows.append(
            f"| `python train.py --phase {phase}` | {what} | **{spread['accuracy_mean']:.2%}**{deviation} | {spread['n']} | "
            f"{statistics.mean(row['macro_f1'] for row in runs):.4f} |"
        )
    head = "| command | what learns | test accuracy | runs | macro F1 |\n|---|---|---|---|---|"
    return f"{head}\n" + "\n".join(rows) + f"\n\nMobileNetV2 at 160×160, mean ± deviation over seeds. {origin(result)}"


def cost_ratios(cost: dict, lengths: dict[str, int]) -> dict[str, float]:
    """Return how many times the plain way takes, by what is compared, when the phases have `lengths` epochs each.

    Args:
        cost: what `training_cost.json` holds: seconds by stage of both ways, and the epochs that they were measured over.
        lengths: epochs of "head" and "finetune".
    """
    measured = cost["epochs"]["measured"]
    plain, cached = (
        {name: cost[way]["seconds"][name] / measured[name] for name in ("head", "finetune")}
        for way in ("plain", "cached")
    )
    build = cost["cached"]["seconds"]["cache"]
    whole, suffix = (sum(way[name] * lengths[name] for name in way) for way in (plain, cached))
    ratios = {
        "head_epoch": plain["head"] / cached["head"],
        "finetune_epoch": plain["finetune"] / cached["finetune"],
        "head_with_cache": plain["head"] * lengths["head"] / (cached["head"] * lengths["head"] + build),
        "whole": whole / (suffix + build),
    }
    return {name: round(ratio, 2) for name, ratio in ratios.items()}


def _cost(result: dict, stored: dict) -> str:
    epochs = result["epochs"]["measured"]
    lengths = epochs
    if "reference" in stored:  # the epochs that the recipe takes before it stops early
        runs = stored["reference"]["runs"]
        taken = {name: [row["epochs"][name] for row in runs if row["epochs"].get(name)] for name in epochs}
        lengths = {name: round(statistics.mean(each)) for name, each in taken.items()}
    ratios = cost_ratios(result, lengths)
    plain, cached = result["plain"]["seconds"], result["cached"]["seconds"]
    rows = [
        f"| one epoch of phase {name} | {plain[name] / epochs[name]:.0f} s | {cached[name] / epochs[name]:.0f} s | "
        f"{ratios[f'{name}_epoch']:.1f}× |"
        for name in epochs
    ]
    rows.append(f"| frozen layers, once | – | {cached['cache']:.0f} s | |")
    rows.append(
        f"| phase head, {lengths['head']} epochs, frozen layers included | | | {ratios['head_with_cache']:.1f}× |"
    )
    rows.append(f"| both phases, {lengths['head']} + {lengths['finetune']} epochs | | | **{ratios['whole']:.1f}×** |")
    head = "| training time | plain Keras (`--no-cache`) | Thaw | ratio |\n|---|---|---|---|"
    return (
        f"{head}\n"
        + "\n".join(rows)
        + f"\n\nBoth ways side by side in one run, {epochs['head']} + {epochs['finetune']} "
        f"epochs each on {result['images']:,} images; the two last rows apply these times to the epochs that the recipe "
        f"takes. Test accuracy differs by {100 * abs(result['accuracy_difference']):.2f} points. {origin(result)}"
    )


def _fresh(result: dict, stored: dict) -> str:
    names = ("install and train", "install and test")
    steps = ", ".join(
        f"{name}: {step['seconds'] / 60:.0f} min" for name, step in zip(names, result["steps"], strict=True)
    )
    return (
        f"The two commands above, in a fresh clone with an empty cache of data and weights: {steps}. {origin(result)}"
    )


def _networks(result: dict, stored: dict) -> str:
    probes = {row["model"]: row["accuracy"] for row in stored.get("linear_probe", {}).get("runs", [])}
    rows = []
    for run in result["runs"]:
        seconds = run["seconds"]
        probe = f"{probes[run['model']]:.2%}" if run["model"] in probes else "–"
        rows.append(
            f"| `{run['model']}` | {run['image_size']} | {run['parameters']['total']:,} | {run['phase']}, {run['head']} | "
            f"{run['parameters']['trainable']:,} | {probe} | **{run['accuracy']:.2%}** | {run['macro_f1']:.4f} | "
            f"{seconds['cache']:.0f} + {seconds[run['phase']]:.0f} s, {run['epochs'][run['phase']]} epochs |"
        )
    head = (
        "| network | input | parameters | trained: phase, head | of them | logistic regression | test accuracy | macro F1 | "
        "frozen layers + training |\n|---|---|---|---|---|---|---|---|---|"
    )
    return (
        f"{head}\n"
        + "\n".join(rows)
        + "\n\nAll of CIFAR-10, seed 0, n = 1. Logistic regression is fitted on the frozen, "
        f"globally pooled features. `python benchmark.py --networks` repeats it. {origin(result)}"
    )


def _accuracy(result: dict, stored: dict) -> str:
    def share(value: float | None) -> str:
        return "–" if value is None else f"{value:.2%}"

    rows = []
    machines = {run["hardware"] for run in result["runs"]}
    for (model, recipe, options, machine), group in itertools.groupby(
        result["runs"], key=lambda run: (run["model"], run["recipe"], changed_options(run), run["hardware"])
    ):
        run = _mean_run(list(group))
        where = f" on {machine}" if len(machines) > 1 else ""
        changed = f" `{options}`" if options else ""
        spread = f" ± {100 * run['deviation']:.2f}" if run["n"] > 1 else ""
        rows.append(
            f"| `{model}`, {recipe}{changed}{where} | {run['image_size']} | {run['parameters']['total']:,} | "
            f"{share(run['published'])} | **{run['accuracy']:.2%}**{spread} | {share(run['accuracy_tta'])} | {run['n']} | "
            f"{_verdict(run)} | {run['seconds']['total'] / 60:.0f} min |"
        )
    notes = [f"`{run['model']}`, {run['recipe']}: {run['note']} " for run in result["runs"] if "note" in run]
    head = (
        "| network, recipe | input | parameters | others report | test accuracy | averaged over views | runs | target | "
        "everything |\n|---|---|---|---|---|---|---|---|---|"
    )
    return (
        f"{head}\n" + "\n".join(rows) + "\n\nMean ± deviation over runs. Averaged over views means the mean "
        "logits of the image, its mirror image and, for `speedrun`, shifts by a pixel. What others report are accuracies in "
        f"the projects that Thaw replaces. {''.join(notes)}`python benchmark.py --accuracy` repeats it. "
        f"<sub>{origins(result['runs'])}</sub>"
    )


def changed_options(run: dict) -> str:
    """Return the options of a run's command that change its recipe."""
    options = shlex.split(run["command"])[2:]
    told = {"--model", "--recipe", "--seed", "--precision"}
    pairs = zip(options[::2], options[1::2], strict=True)
    return " ".join(f"{option} {value}" for option, value in pairs if option not in told)


def origins(runs: list[dict]) -> str:
    """Return where and when runs were measured that may have been on several machines and days."""
    machines = dict.fromkeys(run["hardware"] for run in runs)
    dates = {name: sorted({run["date"] for run in runs if run["hardware"] == name}) for name in machines}
    return "; ".join(f"{name}, {' and '.join(dates[name])}" for name in machines)


def _mean_run(runs: list[dict]) -> dict:
    """Return one row for the runs of several seeds: the first one with the means of what they reached, and their number."""
    averaged = [run["accuracy_tta"] for run in runs if run["accuracy_tta"] is not None]
    return {
        **runs[0],
        "n": len(runs),
        "accuracy": statistics.mean(run["accuracy"] for run in runs),
        "deviation": statistics.stdev(run["accuracy"] for run in runs) if len(runs) > 1 else None,
        "accuracy_tta": statistics.mean(averaged) if averaged else None,
        "seconds": {"total": statistics.mean(run["seconds"]["total"] for run in runs)},
    }


def _verdict(run: dict) -> str:
    if run["target"] is None:
        return "–"
    minutes = run.get("minutes")
    if run["accuracy"] >= run["target"]:
        verdict = "reached"
    else:
        verdict = "reached, averaged" if (run["accuracy_tta"] or 0) >= run["target"] else "missed"
    if minutes is not None and run["seconds"]["total"] > 60 * minutes and verdict != "missed":
        verdict += ", too late"
    return f"{run['target']:.1%}{'' if minutes is None else f' in {minutes:.0f} min'}: {verdict}"


def _ablation(result: dict, stored: dict) -> str:
    accuracies = {run["change"]: run["validation_accuracy"] for run in result["runs"]}
    base = accuracies.get(AS_IT_IS)
    some = next(iter(accuracies.values()))
    error = (some * (1 - some) / result["validation_images"]) ** 0.5
    rows = [
        f"| {run['change']} | {run['validation_accuracy']:.2%} | "
        + ("–" if base is None else f"{100 * (run['validation_accuracy'] - base):+.2f}")
        + " |"
        for run in result["runs"]
    ]
    head = "| `strong`, with one change | validation accuracy | points |\n|---|---|---|"
    return (
        f"{head}\n" + "\n".join(rows) + f"\n\n{result['model']} at {result['image_size']}×{result['image_size']}, "
        f"{result['epochs']:g} epochs, seed {result['seed']}, n = 1, on {result['validation_images']:,} validation images (the "
        f"standard error of one accuracy is {100 * error:.2f} points; all rows see the same images). "
        f"<sub>{origins(result['runs'])}</sub>"
    )


def _time_to_accuracy(result: dict, stored: dict) -> str:
    thresholds = list(result["runs"][0]["seconds_until"])

    def minutes(seconds: float | None) -> str:
        return "never" if seconds is None else f"{seconds / 60:.1f} min"

    rows = [
        f"| {run['way']} | {run['epochs']['head']} + {run['epochs']['finetune']} | "
        + " | ".join(minutes(run["seconds_until"][threshold]) for threshold in thresholds)
        + f" | {max(point['accuracy'] for point in run['curve']):.2%} |"
        for run in result["runs"]
    ]
    head = (
        "| until validation accuracy | epochs | " + "".join(f"{threshold} | " for threshold in thresholds) + "highest |"
    )
    line = "|---|---|---|" + "---|" * len(thresholds)
    return (
        f"{head}\n{line}\n" + "\n".join(rows) + "\n\n![Validation accuracy by time](results/time_to_accuracy.png)\n\n"
        f"{result['model']} at {result['image_size']}×{result['image_size']} on one machine, one after the other. Epochs of "
        "phase head + finetune; frozen layers are counted; plain Keras is `reference` in fewer epochs, with no cache. "
        f"{origin(result)}"
    )


def _step_cost(result: dict, stored: dict) -> str:
    head = (
        "| hardware | precision | batch | oneDNN "
        f"| `{result['model']}` trains {result['images']:,} images in |\n|---|---|---|---|---|"
    )
    rows = [
        f"| {machine['hardware']} | {run['precision']} | {run['batch_size']:,} | {'on' if run['onednn'] else 'off'} | "
        f"{run['seconds']:.2f} s |"
        for machine in result["machines"]
        for run in machine["runs"]
    ]
    dates = ", ".join(dict.fromkeys(machine["date"] for machine in result["machines"]))
    return f"{head}\n" + "\n".join(rows) + f"\n\nMedian of {result['steps']}, without reading data. <sub>{dates}</sub>"


def _probe(result: dict, stored: dict) -> str:
    checks = " ".join(
        f"Check of the ported weights: logistic regression on the {row['features']:,} frozen features of {row['model']} "
        f"reaches {row['accuracy']:.2%} (expected: {row['expected']:.2%})."
        for row in result["runs"]
        if "expected" in row
    )
    return f"{checks} {origin(result)}"


def _parity(result: dict, stored: dict) -> str:
    ports: dict[tuple[str, str], list[dict]] = {}
    for row in result["runs"]:
        ports.setdefault((row["model"], row["original"]), []).append(row)
    rows = []
    for (model, original), same in ports.items():
        whole = same[0]  # the original's own naming, with its classifier for 10 classes
        namings = ", ".join(row["naming"] for row in same)
        difference = max(row["max_abs_difference"] for row in same)
        trips = "bit-exact" if all(row["round_trip"] == "bit-exact" for row in same) else "–"
        rows.append(
            f"| `{model}` | {original} ({namings}) | {whole['parameters_theirs']:,} | {whole['parameters_ours']:,} | "
            f"{difference:.1e} | {trips} |"
        )
    head = (
        "| port | original (names of its tensors) | parameters, theirs | ours | largest difference | round trip |\n"
        "|---|---|---|---|---|---|"
    )
    return (
        f"{head}\n"
        + "\n".join(rows)
        + "\n\nThe same random weights on both sides, in double precision, even and odd input "
        "sizes: features and, where there is a classifier, probabilities. Parameters as PyTorch counts them, classifier for "
        "10 classes included; of Keras Applications the backbone, moving statistics included (its EfficientNet holds 7 "
        f"constants of the scaling as weights). {origin(result)}"
    )


def _serving(result: dict, stored: dict) -> str:
    rows = [
        f"| {'**Thaw**' if row['app'] == 'thaw' else 'Flask, `model.predict`'} | {row['image']} | "
        f"{row['requests_per_second']:.0f} | {row['p50_ms']:.0f} ms | {row['p99_ms']:.0f} ms | {row['errors']} | "
        f"{row['resident_mb']:.0f} MB | {row['first_answer_s']:.1f} s |"
        for row in result["runs"]
    ]
    head = (
        "| server | image | requests/s | median | 99th percentile | errors | memory | first answer |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    ratios = " and ".join(
        f"{ratio:.1f} times the requests/s for a {image}" for image, ratio in result["ratios"].items()
    )
    return (
        f"{head}\n"
        + "\n".join(rows)
        + f"\n\n{ratios}. Both serve {result['model']} with {result['workers']} workers to "
        f"{result['connections']} connections for {result['seconds']:.0f} s each, the client on the same machine; memory is "
        f"that of the whole process tree. The serving requirements take {result['installed_mb']:.0f} MB. {origin(result)}"
    )


def _stopping(result: dict, stored: dict) -> str:
    parts = [f"{event}: {', '.join(map(str, lost))}" for event, lost in result["lost"].items()]
    return (
        f"Requests lost under load, {result['repeats']} times each, {result['connections']} connections: {'; '.join(parts)}. "
        f"Requests that come after SIGTERM are refused at the door. {origin(result)}"
    )


TABLES = {
    "reference": _reference,
    "training_cost": _cost,
    "accuracy": _accuracy,
    "recipes": _ablation,
    "time_to_accuracy": _time_to_accuracy,
    "step_cost": _step_cost,
    "networks": _networks,
    "parity": _parity,
    "linear_probe": _probe,
    "serving": _serving,
    "stopping": _stopping,
    "fresh_clone": _fresh,
}


def origin(result: dict) -> str:
    """Return where and when a result was measured, in small print."""
    return f"<sub>{result['hardware']}, {result['date']}</sub>"
