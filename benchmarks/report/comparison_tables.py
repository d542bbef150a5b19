"""Markdown tables of the controlled comparison and of the shipped models; functions as in `benchmarks.report.tables`."""

import itertools
from collections.abc import Callable, Mapping, Sequence

from benchmarks.measures.diagnosis import calibration_error_by_chance
from benchmarks.report.tables import origin, origins

SIGNIFICANT = 0.05


def timed_run(runs: Sequence[Mapping]) -> Mapping:
    """Return the run that a network's times are of: the one that computed the frozen layers for all, else the first."""
    return max(runs, key=lambda run: run["seconds"]["cache"])


def comparison(result: dict, stored: dict) -> str:
    """Return the networks under the controlled budget, by accuracy."""
    rows, machine, timed_on = [], _machine_notes(result), _timed_on(*result["models"])
    for row in result["models"]:
        low, high = row["accuracy_interval"]
        spread = "" if row["accuracy_deviation"] is None else f" ± {100 * row['accuracy_deviation']:.2f}"
        parameters = row["parameters"]
        minutes = f"{row['frozen_seconds'] / 60:.1f} + {row['training_seconds'] / 60:.1f} min"
        rows.append(
            f"| `{row['model']}` | {row['strategy']} | {row['status']} | **{row['accuracy_mean']:.2%}**{spread} | "
            f"{len(row['runs'])} | {low:.1%} – {high:.1%} | {row['macro_f1']:.4f} | {parameters['trainable']:,} | "
            f"{parameters['total']:,} | {minutes}{machine(row)} |"
        )
    head = (
        "| network | strategy | status | test accuracy | runs | 95 % interval | macro F1 | trainable parameters | of | "
        "frozen layers + training |\n|"
    )
    budget = result["budget"]
    single = [f"`{row['model']}`" for row in result["models"] if len(row["runs"]) == 1]
    where = f", on {timed_on[0]}" if len(timed_on) == 1 else ""
    cheap = f" One run alone, for its length, of {', '.join(single)}." if single else ""
    held_back = " or ".join(f"{count:,}" for count in sorted({row["validation_images"] for row in result["models"]}))
    return (
        f"{head}{'---|' * 10}\n"
        + "\n".join(rows)
        + f"\n\nOne budget for all: {budget['optimizer'].capitalize()}, learning "
        f"rate {budget['learning_rate']:g}, {budget['epochs']} epochs, batch {budget['batch_size']}, augmentation: "
        f"{budget['augmentation']}, {held_back} images held back. Mean ± deviation over seeds.{cheap} The interval is a "
        f"bootstrap over test images; times are those of one run{where}. Live networks ship in `saved_models/`, trained "
        "by a recipe of their own; study ones are in this table alone. `python benchmark.py --budget controlled` repeats it. "
        f"{_where(result)}"
    )


def costs(result: dict, stored: dict) -> str:
    """Return what each network of the comparison costs to store, to train and to ask."""
    times = _latencies(stored)
    rows, machine = [], _machine_notes(result)
    for row in result["models"]:
        keras, onnx = (times.get((row["model"], engine)) for engine in ("keras", "onnxruntime"))
        rows.append(
            f"| `{row['model']}` | {row['image_size']} | {row['file_mb']:.1f} MB | {row['flops'] / 1e6:,.0f} M | "
            f"{_times(onnx)} | {_times(keras)} | {row['cpu_seconds']:,.0f} s{machine(row)} | {_converged(row)} |"
        )
    measured = (
        f"`results/latency.json`, {origin(stored['latency'])}"
        if "latency" in stored
        else "not measured yet: `python benchmark.py --latency`"
    )
    head = (
        "| network | input | ONNX file | FLOPs | onnxruntime: median, p95; images/s | Keras: the same | CPU time of a run, for "
        "its energy | epochs to converge |\n|"
    )
    return (
        f"{head}{'---|' * 8}\n"
        + "\n".join(rows)
        + "\n\nFLOPs of one image, two for each multiply-add. Answer times of one "
        f"image, and images/s of 32 at a time ({measured}). CPU time of all cores in one run, frozen layers and "
        "evaluation included, stands for its energy. The first seed's run has converged at the first epoch within a point of "
        f"its best validation accuracy. {_where(result)}"
    )


def pairs(result: dict, stored: dict) -> str:
    """Return each network against the next one of the ranking, and say how many of all pairs differ."""
    rows = []
    for first, second in itertools.pairwise(result["models"]):
        pair = _pair(result, first, second)
        rows.append(
            f"| `{first['model']}` | `{second['model']}` | {pair['only_first']:,} | {pair['only_second']:,} | "
            f"{pair['p_holm']:.2g} | {_verdict(pair)} |"
        )
    differ = sum(pair["p_holm"] < SIGNIFICANT for pair in result["pairs"])
    head = (
        "| network | the next one | right by the first alone | by the second alone | p | the first is |\n|" + "---|" * 6
    )
    return (
        f"{head}\n"
        + "\n".join(rows)
        + f"\n\nMcNemar's exact test on the same test images, the first seed's run of each; p after Holm's "
        f"correction for all {len(result['pairs'])} pairs, of which {differ} differ at {SIGNIFICANT:g}. {_where(result)}"
    )


def latency(result: dict, stored: dict) -> str:
    """Return the answer times of every measured network."""
    rows = [
        f"| `{row['model']}` | {row['engine']} | {row['input_size']} | {row['median_ms']:.2f} ms | {row['p95_ms']:.2f} ms | "
        f"{row['images_per_second']:,.0f} |"
        for row in sorted(result["runs"], key=lambda row: (row["engine"], row["median_ms"]))
    ]
    again = {
        None: "",
        True: " The measurement before this one ranked them the same way, as far as both tell them apart.",
        False: " The measurement before this one ranked some of them otherwise.",
    }[result["same_ranking"]]
    ties = ", ".join(f"`{one}` and `{other}` under {engine}" for engine, one, other in result["ties"])
    told = f" The rounds do not tell apart, by a sign test at 1 %: {ties}." if ties else ""
    head = "| network | engine | input | one image, median | 95th percentile | images/s, 32 at a time |\n|" + "---|" * 6
    return (
        f"{head}\n"
        + "\n".join(rows)
        + f"\n\nAll take turns in one process, with random weights, and compute what Grad-CAM needs too, as they are served."
        f"{told}{again} {origin(result)}"
    )


def shipped(result: dict, stored: dict) -> str:
    """Return what ships, with its means over the classes and its calibration."""
    rows = []
    for folder, model in _by_accuracy(result):
        macro, errors = model["macro"], model["calibration"]
        rows.append(
            f"| `{folder}` | {model['recipe']} | **{model['accuracy']:.2%}** | {macro['precision']:.4f} | "
            f"{macro['recall']:.4f} | {macro['f1']:.4f} | {errors['ece_before']:.2%} | {errors['ece_after']:.2%} | "
            f"{calibration_error_by_chance(model['reliability']['after']):.2%} | "
            f"{errors['temperature']:.2f} | {errors['exponent']:.2f} |"
        )
    head = (
        "| model | recipe | test accuracy | precision | recall | F1 | calibration error | after calibration | by chance | "
        f"temperature | exponent |\n|{'---|' * 11}\n"
    )
    note = (
        "Precision, recall and F1 are means over the classes. Calibration, fitted on the validation split, puts a class that "
        "lies d nats below the most probable one (d / temperature)^exponent below it. By chance: what a model as sure as this "
        "one, and right exactly as often as it is sure, would show on so many images."
    )
    return head + "\n".join(rows) + f"\n\n{note} {origin(result)}"


def doubtful(result: dict, stored: dict) -> str:
    """Return the shipped models' accuracy without the test images that others found doubtful; empty without a list of them."""
    if not result["review"]:
        return ""
    names = (*result["review"], "all")
    rows = [
        f"| `{folder}` | {model['accuracy']:.2%} | "
        + " | ".join(
            f"{model['doubtful'][name]['accuracy_without']:.2%} | {model['doubtful'][name]['accuracy_on']:.1%}"
            for name in names
        )
        + " |"
        for folder, model in _by_accuracy(result)
    ]
    columns = " | ".join(f"without {name.replace('_', ' ')} | on those alone" for name in names)
    lists = " ".join(
        f"{name.replace('_', ' ').capitalize()}: {each['images']} images. {each['what']} ({each['source']})."
        for name, each in result["review"].items()
    )
    head = f"| model | all test images | {columns} |\n|{'---|' * (2 + 2 * len(names))}"
    return f"{head}\n" + "\n".join(rows) + f"\n\n{lists} {origin(result)}"


def per_class(result: dict, stored: dict) -> str:
    """Return F1 of every class for every shipped model."""
    models = [folder for folder, _ in _by_accuracy(result)]
    rows = [
        f"| {label} | " + " | ".join(_three(result["models"][name]["per_class"][label]) for name in models) + " |"
        for label in result["class_names"]
    ]
    head = f"| precision / recall / F1, percent | {' | '.join(f'`{name}`' for name in models)} |\n|" + "---|" * (
        1 + len(models)
    )
    return f"{head}\n" + "\n".join(rows) + f"\n\n{origin(result)}"


def confusion_pairs(result: dict, stored: dict, most: int = 10) -> str:
    """Return the pairs of classes that the scratch network confuses most, and what is left of them."""
    found = result["pairs"]
    rows = [
        f"| {' and '.join(row['classes'])} | {row['before']} | {row['after']} | "
        + ("– |" if row["change"] is None else f"{row['change']:+.0%} |".replace("-", "−"))
        for row in found["rows"][:most]
    ]
    head = f"| confused, both directions | `{found['from']}` | `{found['to']}` | change |\n|---|---|---|---|"
    return f"{head}\n" + "\n".join(rows) + f"\n\nThe {most} hardest pairs of `{found['from']}`. {origin(result)}"


def finding(result: dict) -> str:
    """Return in a sentence how much a frozen pretrained backbone helps under one budget; empty without one of either kind."""
    frozen, scratch = _by_strategy(result)
    if not frozen or not scratch:
        return ""
    with_backbone, without = frozen[0], scratch[0]  # the best ones
    ahead = 100 * (with_backbone["accuracy_mean"] - without["accuracy_mean"])
    relation = "which McNemar's test does not tell apart from"
    if _verdict(_pair(result, with_backbone, without)) == ("better" if ahead > 0 else "worse"):
        relation = f"{abs(ahead):.1f} points {'above' if ahead > 0 else 'below'}"
    share = with_backbone["parameters"]["trainable"] / without["parameters"]["trainable"]
    times = [row["frozen_seconds"] + row["training_seconds"] for row in (with_backbone, without)]
    time = f" and takes {times[0] / times[1]:.2f} times as long, frozen layers included"
    return (
        f"Under one budget the best frozen ImageNet backbone, `{with_backbone['model']}`, reaches {_reached(with_backbone)} "
        f"on CIFAR-10, {relation} the {_reached(without)} of the best network from scratch, `{without['model']}`; it trains "
        f"{share:.1%} as many parameters{time if len(_timed_on(with_backbone, without)) == 1 else ''}."
    )


def surprise(result: dict) -> str:
    """Return in a sentence which frozen backbones a network from scratch overtakes; empty without one of either kind."""
    frozen, scratch = _by_strategy(result)
    if not frozen or not scratch:
        return ""
    best = scratch[0]
    overtaken = [f"`{row['model']}`" for row in frozen if _verdict(_pair(result, best, row)) == "better"]
    if not overtaken:
        return "No network from scratch overtakes any of the frozen backbones."
    return (
        f"The same budget takes `{best['model']}`, from scratch on {best['image_size']} pixels, past {len(overtaken)} of "
        f"{len(frozen)} frozen backbones: {', '.join(overtaken)}."
    )


def _by_strategy(result: dict) -> tuple[list[dict], list[dict]]:
    """Return the rows of frozen backbones and those from scratch, each by accuracy."""
    scratch = [row for row in result["models"] if row["phase"] == "scratch"]
    return [row for row in result["models"] if row not in scratch], scratch


def _pair(result: dict, first: Mapping, second: Mapping) -> dict:
    """Return the comparison of two networks, whichever of them it was recorded under first."""
    for pair in result["pairs"]:
        if (pair["first"], pair["second"]) == (first["model"], second["model"]):
            return pair
        if (pair["second"], pair["first"]) == (first["model"], second["model"]):
            return {**pair, "only_first": pair["only_second"], "only_second": pair["only_first"]}
    raise KeyError(f"{first['model']} and {second['model']} were not compared.")


def _verdict(pair: Mapping) -> str:
    if pair["p_holm"] >= SIGNIFICANT:
        return "not told apart"
    return "better" if pair["only_first"] > pair["only_second"] else "worse"


def _reached(row: Mapping) -> str:
    runs = len(row["runs"])
    return f"{row['accuracy_mean']:.2%} ({runs} run{'s' if runs > 1 else ''})"


def _timed_on(*rows: Mapping) -> list[str]:
    """Return the machines that the rows' times are of."""
    return list(dict.fromkeys(timed_run(row["runs"])["hardware"] for row in rows))


def _machine_notes(result: dict) -> Callable[[Mapping], str]:
    """Return what names the machine of a row's times where not all are of one."""
    several = len(_timed_on(*result["models"])) > 1
    return lambda row: f" <sub>{timed_run(row['runs'])['hardware']}</sub>" if several else ""


def _converged(row: Mapping) -> str:
    epochs, last = row["epochs_to_converge"], len(row["runs"][0]["curve"])
    return f"not before the last, {last}" if epochs == last else f"{epochs}"


def _where(result: dict) -> str:
    return f"<sub>{origins([run for row in result['models'] for run in row['runs']])}</sub>"


def _by_accuracy(result: dict) -> list[tuple[str, dict]]:
    return sorted(result["models"].items(), key=lambda item: -item[1]["accuracy"])


def _latencies(stored: dict) -> dict[tuple[str, str], Mapping]:
    return {(row["model"], row["engine"]): row for row in stored.get("latency", {}).get("runs", [])}


def _times(row: Mapping | None) -> str:
    return "–" if row is None else f"{row['median_ms']:.1f}, {row['p95_ms']:.1f} ms; {row['images_per_second']:,.0f}"


def _three(row: Mapping[str, float]) -> str:
    return " / ".join(f"{100 * row[name]:.0f}" for name in ("precision", "recall", "f1"))
