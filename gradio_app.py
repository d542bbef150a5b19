"""Try the saved models in a browser: classify an image, compare the models, classify many files, see the benchmark.

python gradio_app.py                            the shipped models, at http://127.0.0.1:7860
python gradio_app.py --models runs              your own models, as train.py saved them
python gradio_app.py --host 0.0.0.0 --port 80   reachable from the network
python gradio_app.py --share                    a public address for a week, by Gradio's tunnel

Each model is loaded on first use. Uploads are deleted after about an hour. TensorFlow is not needed.
"""

import argparse
import sys
from pathlib import Path

from inference.model_store import SAVED_MODELS
from models.saved.card import ModelFileError


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    models = "folder with one subfolder per model, such as saved_models/ or runs/ (default: saved_models)"
    add("--models", type=Path, default=SAVED_MODELS, metavar="FOLDER", help=models)
    add("--host", help="address to listen on (default: $GRADIO_SERVER_NAME, else 127.0.0.1)")
    add("--port", type=int, help="port to listen on (default: $GRADIO_SERVER_PORT, else the first free from 7860)")
    add("--share", action="store_true", help="also create a public address; anyone who knows it can use the demo")
    options = parser.parse_args(arguments)
    if options.port is not None and not 0 < options.port < 65536:
        parser.error(f"--port must be from 1 to 65535. Received: {options.port}")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Serve the demo until it is interrupted, and return the exit status: 0 success, 1 failure, 2 invalid option."""
    options = parse_arguments(arguments)
    try:
        from deploy.demo import serve  # imports Gradio, which takes seconds: --help does not wait for it
    except ModuleNotFoundError as error:
        return _fail(f"{error.name} is not installed. Install the demo: pip install gradio onnxruntime pillow")
    try:
        serve(options.models, host=options.host, port=options.port, share=options.share)
    except ModelFileError as error:
        return _fail(f"{error}\nTrain one: python train.py; then: python gradio_app.py --models runs")
    except OSError as error:
        where = f"{options.host or '127.0.0.1'}:{options.port or '7860 and on'}"
        return _fail(f"could not listen on {where}. Is the port taken? Choose another --port. ({error})")
    return 0


def _fail(message: str) -> int:
    print(f"gradio_app.py: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
