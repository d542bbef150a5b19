"""Try the saved models in a browser: classify, compare, answer many files, read the benchmark.

python gradio_app.py                            the models that ship with the project, http://127.0.0.1:7860
python gradio_app.py --models runs              models of your own, as train.py left them
python gradio_app.py --host 0.0.0.0 --port 80   for everybody on the network
python gradio_app.py --share                    a public address for a week, through Gradio's own tunnel

A model is loaded when it is first asked for. Uploads are deleted after about an hour. TensorFlow is not needed.
"""

import argparse
import sys
from pathlib import Path

from inference.model_store import SAVED_MODELS
from models.saved.card import ModelFileError


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        "--models",
        type=Path,
        default=SAVED_MODELS,
        metavar="FOLDER",
        help="a folder with one folder for each model, as saved_models/ and runs/ are (default: saved_models)",
    )
    add("--host", help="address to listen at (default: $GRADIO_SERVER_NAME, else 127.0.0.1)")
    add("--port", type=int, help="port to listen at (default: $GRADIO_SERVER_PORT, else the first free from 7860)")
    add("--share", action="store_true", help="also make a public address; everybody who knows it can use the demo")
    options = parser.parse_args(arguments)
    if options.port is not None and not 0 < options.port < 65536:
        parser.error(f"--port must be from 1 to 65535. Received: {options.port}")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Serve the demo until it is interrupted, and return the exit status: 0 done, 1 failed, 2 bad option."""
    options = parse_arguments(arguments)
    # Here, not above: Gradio takes seconds to import, and --help and a wrong option should answer at once.
    try:
        from deploy.demo import serve
    except ModuleNotFoundError as error:
        print(
            f"gradio_app.py: {error.name} is not installed. Install the demo: pip install gradio onnxruntime pillow",
            file=sys.stderr,
        )
        return 1
    try:
        serve(options.models, host=options.host, port=options.port, share=options.share)
    except ModelFileError as error:
        print(
            f"gradio_app.py: {error}\nTrain one: python train.py; then: python gradio_app.py --models runs",
            file=sys.stderr,
        )
        return 1
    except OSError as error:
        where = f"{options.host or '127.0.0.1'}:{options.port or '7860 and on'}"
        print(
            f"gradio_app.py: {where} cannot be listened at; is it taken? Name another --port. ({error})",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
