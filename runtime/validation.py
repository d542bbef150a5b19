"""Arguments out of their range, told in one form."""


def require(condition: bool, rule: str, **received) -> None:
    """Raise ValueError(rule) with the one value `received`, by name, unless `condition` holds."""
    if not condition:
        ((name, value),) = received.items()
        raise ValueError(f"{rule}. Received: {name}={value!r}")
