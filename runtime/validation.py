"""Validation of arguments, with one form of error message."""


def require(condition: bool, rule: str, **received) -> None:
    """Raise ValueError unless `condition` holds: the rule, then the one argument in `received` as `name=value`."""
    if not condition:
        ((name, value),) = received.items()
        raise ValueError(f"{rule}. Received: {name}={value!r}")
