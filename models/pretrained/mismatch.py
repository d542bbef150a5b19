"""Checks that weights belong to a network, before anything in the network changes."""

from collections.abc import Mapping

Shape = tuple[int, ...]
_LISTED = 5  # names of each kind in a message: the wrong network differs in hundreds


class WeightsMismatchError(ValueError):
    """Weights of another network: tensors are missing, unknown, or of another shape."""


def require_same_shapes(network: str, expected: Mapping[str, Shape], received: Mapping[str, Shape]) -> None:
    """Compare tensor shapes by name.

    Raises:
        WeightsMismatchError: if names or shapes differ. The message gives the first difference, in the network's order, and
            lists up to five of each kind.
    """
    common = [name for name in expected if name in received]
    kinds = {
        "missing": [name for name in expected if name not in received],
        "of another shape": [name for name in common if tuple(received[name]) != tuple(expected[name])],
        "unknown to the network": [name for name in received if name not in expected],
    }
    differing = {name for names in kinds.values() for name in names}
    if not differing:
        return
    first = next(name for name in [*expected, *received] if name in differing)
    details = "; ".join(f"{len(names)} {kind}: {_short(names)}" for kind, names in kinds.items() if names)
    raise WeightsMismatchError(
        f"The weights do not fit {network}, which is unchanged. First difference: {first} must have the shape "
        f"{_shape(expected, first)}. Received: {_shape(received, first)}. In all: {details}."
    )


def _shape(shapes: Mapping[str, Shape], name: str) -> str:
    return str(tuple(shapes[name])) if name in shapes else "nothing"


def _short(names: list[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
