"""Training times of recorded runs."""

from collections.abc import Mapping, Sequence


def timed_run(runs: Sequence[Mapping]) -> Mapping:
    """Return the run that gives a network's times: the one that computed the frozen layers, else the first."""
    return max(runs, key=lambda run: run["seconds"]["cache"])


def cost_ratios(cost: Mapping, lengths: Mapping[str, int]) -> dict[str, float]:
    """Return the ratios of plain Keras' training time to that with the activation cache.

    Args:
        cost: content of `training_cost.json`: seconds by phase, `cached` and `plain`, and the measured epochs.
        lengths: epochs of "head" and "finetune".

    Returns:
        Ratios of one epoch (`head_epoch`, `finetune_epoch`), and with the pass through the frozen layers of phase "head"
        (`head_with_cache`) and of both phases (`whole`).
    """
    measured = cost["epochs"]["measured"]
    plain, cached = (
        {phase: cost[way]["seconds"][phase] / measured[phase] for phase in ("head", "finetune")}
        for way in ("plain", "cached")
    )
    frozen = cost["cached"]["seconds"]["cache"]
    whole, suffix = (sum(way[phase] * lengths[phase] for phase in way) for way in (plain, cached))
    ratios = {
        "head_epoch": plain["head"] / cached["head"],
        "finetune_epoch": plain["finetune"] / cached["finetune"],
        "head_with_cache": plain["head"] * lengths["head"] / (cached["head"] * lengths["head"] + frozen),
        "whole": whole / (suffix + frozen),
    }
    return {name: round(ratio, 2) for name, ratio in ratios.items()}
