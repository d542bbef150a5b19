"""Results as the measurements of the comparison write them, made up."""

from benchmarks.measures.diagnosis import confusion_pairs, coverage_curve, reliability
from models.saved.calibration import Calibration
from training.evaluation import calibration, evaluate

ORIGIN = {"hardware": "an abacus", "git_commit": "0", "date": "2026-01-02"}


def comparison() -> dict:
    """Return `comparison.json` of a frozen network and two from scratch."""

    def row(model, strategy, accuracy, runs, status):
        scratch = strategy == "from scratch"
        return {
            "model": model,
            "phase": "scratch" if scratch else "head",
            "strategy": strategy,
            "status": status,
            "head": "linear",
            "image_size": 32,
            "validation_images": 5000,
            "file_mb": 1.25,
            "flops": 300_000_000,
            "parameters": {"total": 2_000_000, "trainable": 2_000_000 if scratch else 10_000},
            "accuracy_mean": accuracy,
            "accuracy_deviation": 0.0012 if runs > 1 else None,
            "accuracy_interval": [accuracy - 0.01, accuracy + 0.01],
            "macro_f1": accuracy,
            "training_seconds": 60.0,
            "frozen_seconds": 0.0 if scratch else 120.0,
            "cpu_seconds": 333.0,
            "epochs_to_converge": 2,
            "runs": [
                {
                    "seed": seed,
                    "curve": [accuracy - 0.1, accuracy, accuracy - 0.02],
                    "seconds": {"cache": 0.0 if scratch or seed else 120.0},
                    **ORIGIN,
                }
                for seed in range(runs)
            ],
        }

    models = [
        row("speedrun_cnn", "from scratch", 0.90, 1, "live"),
        row("mobilenet_v2", "frozen ImageNet backbone", 0.88, 3, "live"),
        row("vgg16", "frozen ImageNet backbone", 0.83, 3, "study"),
    ]
    names = [model["model"] for model in models]
    pairs = [
        {"first": first, "second": second, "only_first": 500, "only_second": 300, "p": p, "p_holm": p}
        for first, second, p in ((names[0], names[1], 0.2), (names[0], names[2], 1e-9), (names[1], names[2], 1e-8))
    ]
    budget = {"optimizer": "adam", "learning_rate": 1e-3, "epochs": 15, "batch_size": 128, "augmentation": "none"}
    return {**ORIGIN, "budget": budget, "models": models, "pairs": pairs}


def latency() -> dict:
    """Return `latency.json` of one network of the comparison, measured a day later."""
    times = {"input_size": 32, "p95_ms": 2.5, "images_per_second": 700.0}
    rows = [
        {"model": "mobilenet_v2", "engine": engine, "median_ms": median, **times}
        for engine, median in (("onnxruntime", 1.5), ("keras", 11.5))
    ]
    return {**ORIGIN, "date": "2026-01-03", "runs": rows, "ties": [], "same_ranking": True}


def evaluation() -> dict:
    """Return `evaluation.json` of two models with three classes."""
    import numpy as np

    names, labels = ["cat", "dog", "ship"], np.arange(300) % 3
    models = {}
    for model, sharpness in (("custom_cnn", 1.0), ("mobilenet_v2", 4.0)):
        logits = np.random.default_rng(0).normal(size=(300, 3)) + sharpness * np.eye(3)[labels]
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        metrics = evaluate(probabilities, labels, names)
        rows = reliability(probabilities, labels)
        doubtful = {"images": 5, "accuracy_with": 0.9, "accuracy_without": 0.91, "accuracy_on": 0.2}
        models[model] = {
            "network": model,
            "recipe": "strong",
            "command": "python train.py",
            "input_size": 32,
            **{name: metrics[name] for name in ("accuracy", "loss", "macro", "per_class", "confusion_matrix")},
            "calibration": calibration(probabilities, labels, Calibration(1.2, 1.1)),
            "reliability": {"before": rows, "after": rows},
            "coverage": coverage_curve(probabilities, labels),
            "doubtful": {"near_duplicates": doubtful, "all": doubtful},
        }
    matrices = [models[name]["confusion_matrix"] for name in ("custom_cnn", "mobilenet_v2")]
    return {
        **ORIGIN,
        "images": 300,
        "class_names": names,
        "models": models,
        "pairs": {"from": "custom_cnn", "to": "mobilenet_v2", "rows": confusion_pairs(*matrices, names)},
        "review": {"near_duplicates": {"what": "The same shot.", "source": "a paper", "images": 5}},
    }


def domain_gap() -> dict:
    """Return `domain_gap.json` of two models, of which one was measured twice."""
    from benchmarks.experiments.uploads import CLEAN, CONDITIONS

    def model(accuracy):
        names = [CLEAN, *(name for group in CONDITIONS.values() for name in group)]
        summary = {"accuracy": accuracy, "confidence": accuracy + 0.02, "calibration_error": 0.02}
        conditions = {name: {**summary, "accuracy": accuracy if name == CLEAN else accuracy - 0.2} for name in names}
        wrong = [{"file": "cat/gcompris-kitten.jpg", "answer": "frog", "confidence": 0.61}]
        halves = {half: {"images": 47, **summary, "wrong": wrong} for half in ("choice", "report")}
        command = "python train.py --model mobilenet_v2 --recipe strong"
        row = {
            "command": command,
            "resize_mode": "bilinear",
            "input_size": 32,
            "conditions": conditions,
            "photographs": halves,
        }
        return ORIGIN | row

    before = {"small_cnn": model(0.75), "mobilenet_v2": model(0.95)}
    after = {"mobilenet_v2": model(0.96)}
    stages = {
        name: {"test_images": 2000, "models": models, "default": "mobilenet_v2", "picture": picture}
        for name, models, picture in (("before", before, None), ("after", after, "figures/photographs-after.png"))
    }
    return {**ORIGIN, "stages": stages}


def ood_detector() -> dict:
    """Return `ood_detector.json` of a model that warns and one that never does."""

    def halves():
        return {half: {"near cars": 0.875, "near birds": 0.925, "far noise": 0.99} for half in ("choice", "report")}

    unlike = {"of the ten classes": 0.01, "photographs": 0.04, "far noise": 0.9}
    uploads = {
        "as it is": {"unlike": 0.05, "accuracy_of_unlike": 0.7, "accuracy_of_others": 0.97},
        "jpeg_30": {"unlike": 0.0, "accuracy_of_unlike": None, "accuracy_of_others": 0.8},
    }
    both = {"energy": halves(), "as shipped": halves()}
    measured = {**ORIGIN, "scores": both, "scores_of_photographs": both, "uploads": uploads}
    models = {
        "small_cnn": {**measured, "unlike": dict.fromkeys(unlike, 0.0)},
        "mobilenet_v2": {**measured, "unlike": unlike},
    }
    sets = {name: {"choice": 40, "report": 40, "source": "", "sha256": "0"} for name in halves()["report"]}
    sets["near birds"]["source"] = "a garden"
    counts = {"learned_images": 10_000, "test_images": 2000, "upload_images": 500, "unlike": 0.05}
    return {**ORIGIN, **counts, "sets": sets, "default": "mobilenet_v2", "models": models}


def fits() -> dict:
    """Return `fits.json` of a model that was asked in two ways, of which the better one takes two answers."""
    ways = {"middle": 0.8, "middle and squeezed": 0.9}
    found = {
        way: {"conditions": {"as it is": share, "jpeg_30": share}, "photographs": share} for way, share in ways.items()
    }
    row = {**ORIGIN, "command": "python train.py", "images": 500, "fits": found}
    passes = {"middle": 1, "middle and squeezed": 2}
    best = {"shipped": "middle", "best": "middle and squeezed", "best_at_once": "middle"}
    return {**ORIGIN, "models": {"mobilenet_v2": row}, "passes": passes, **best}


def robust_views() -> dict:
    """Return `robust_views.json` of one set of views."""
    run = {
        **ORIGIN,
        "views": "and both",
        "set": ["identity", "jpeg_10"],
        "accuracy": {"identity": 0.9, "jpeg_10": 0.7},
        "seconds": {"cache": 60.0, "finetune": 60.0},
    }
    how = {
        "model": "mobilenet_v2",
        "recipe": "strong",
        "image_size": 96,
        "epochs": 4,
        "seed": 0,
        "validation_images": 500,
    }
    return {**ORIGIN, **how, "runs": [run]}


def blend() -> dict:
    """Return `blend.json` of three shares."""
    rows = [
        {"share": share, "loss": 0.15, "accuracy": {"identity": clean, "jpeg_10": accuracy}}
        for share, clean, accuracy in ((0.0, 0.94, 0.75), (0.35, 0.95, 0.7), (1.0, 0.952, 0.5))
    ]
    how = {"model": "mobilenet_v2", "recipe": "robust", "blend": "strong", "image_size": 160, "seed": 0, "taken": 0.35}
    return {**ORIGIN, **how, "validation_images": 500, "runs": rows}


def upload_cost() -> dict:
    """Return `upload_cost.json` of one model and image."""
    row = {"model": "mobilenet_v2", "image": "32×32 PNG", "plain_ms": 4.0, "shipped_ms": 4.4}
    return {**ORIGIN, "runs": [row]}
