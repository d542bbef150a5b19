"""Ship a finished run: copy its model to `saved_models/`, where `predict.py`, the API and the demo find it.

python -m training.ship runs/my-run                  under the network's name
python -m training.ship runs/my-run --name cats      under another name
"""

import argparse
import logging
import sys
from pathlib import Path

from runtime.quiet import quiet


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--name", help="name of the folder in saved_models/ (default: the network's)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with quiet():
        import keras  # noqa: F401  # here, so that TensorFlow's messages are hidden

        from training.export.ship import ship
    try:
        print(f"Shipped: {ship(options.run, options.name)}")
    except (ValueError, OSError, RuntimeError) as error:
        print(f"ship: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
