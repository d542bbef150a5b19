"""The one check that weights belong to a network, made before anything in the network changes."""

from collections.abc import Mapping

Shape = tuple[int, ...]
_LISTED = 5  # names of each kind in a message: a wrong network disagrees in hundreds


class WeightsMismatchError(ValueError):
    """Weights of another network: tensors are missing, unknown, or of another shape."""


def require_same_shapes(network: str, expected: Mapping[str, Shape], received: Mapping[str, Shape]) -> None:
    """Compare tensor shapes by name.

    Raises:
        WeightsMismatchError: if a name stands on one side alone or the shapes differ. The message begins with the first
            such name, in the network's order, and both shapes, and lists up to five of each kind.
    """
    missing = [name for name in expected if name not in received]
    misshapen = [name for name in expected if name in received and tuple(received[name]) != tuple(expected[name])]
    unknown = [name for name in received if name not in expected]
    if not (missing or misshapen or unknown):
        return
    first = next((name for name in expected if name in missing or name in misshapen), None) or unknown[0]
    kinds = {"missing": missing, "of another shape": misshapen, "unknown to the network": unknown}
    details = "; ".join(f"{len(names)} {kind}: {_short(names)}" for kind, names in kinds.items() if names)
    raise WeightsMismatchError(
        f"The weights do not fit {network}, which was left as it was. First disagreement: {first} must have the shape "
        f"{_shape(expected, first)}. Received: {_shape(received, first)}. In all, {details}."
    )


def _shape(shapes: Mapping[str, Shape], name: str) -> str:
    return str(tuple(shapes[name])) if name in shapes else "nothing"


def _short(names: list[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
