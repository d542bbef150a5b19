"""The tabs of the demo: their layout and their events."""

import base64
import contextlib
import html
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import Dependency
from PIL import Image, ImageOps

from deploy import demo_predictions, demo_results
from inference.decode import FORMATS, MAX_PIXELS, ImageError
from inference.model_store import ModelStore
from models.saved.card import Card, ModelFileError

FILE_MEGABYTES = 10  # largest upload
BATCH_FILES = 200  # most files in one batch
ABOUT = (Path(__file__).parent / "demo_about.md").read_text(encoding="utf-8")
SORT_ON_CLICK = (Path(__file__).parent / "demo.js").read_text(encoding="utf-8")
SELECT_ON_CLICK = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) trigger("select", {index: Number(button.dataset.index), value: null});
});
"""
HINT = "Upload an image or click an example. Then click a class to see its Grad-CAM map."


def classify(store: ModelStore, pictures: Sequence[Path]) -> None:
    """Lay out the tab that classifies one image and shows its Grad-CAM overlay."""
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            image = image_input()
            loaded = examples(pictures, store, image)
            model = _model_choice(store)
        with gr.Column(min_width=300):
            label = gr.Label(label="Class scores", num_top_classes=demo_predictions.TOP_K, elem_id="prediction")
            warning = gr.Markdown(visible=False, elem_id="warning", elem_classes="thaw-warning")
            with gr.Row():
                pixels = _image_output("Model input", "png", "The image at the model's input size")
                overlay = _image_output("Grad-CAM", "jpeg", "The model input under its Grad-CAM heat map")
            caption = gr.Markdown(HINT)

    def predict(path: str | None, name: str):
        """Return the class scores of an image, a warning, the model input, the Grad-CAM overlay and a caption."""
        if path is None:
            return empty
        with errors_shown():
            classifier = store.get(name)
            prediction, milliseconds = demo_predictions.predict(classifier, path)
            images = demo_predictions.input_images(classifier, path)
        size = classifier.card.input_size
        facts = f"{images.caption} {milliseconds:.0f} ms, {size}×{size} pixels, {classifier.engine.name}."
        text = demo_predictions.warning(prediction)
        banner = gr.update(value=f"**Warning.** {text}" if text else "", visible=bool(text))
        return prediction.probabilities, banner, images.pixels, images.overlay, facts

    def explain(path: str | None, name: str, event: gr.SelectData):
        if path is None:
            return None, HINT
        with errors_shown():
            images = demo_predictions.input_images(store.get(name), path, event.value)
        return images.overlay, images.caption

    outputs = [label, warning, pixels, overlay, caption]
    empty = (None, gr.update(value="", visible=False), None, None, HINT)
    _run_on(predict, [image.input, model.change], loaded, [image, model], outputs, empty, "classify")
    label.select(explain, [image, model], [overlay, caption], show_progress="minimal", api_visibility="private")


def compare(store: ModelStore, pictures: Sequence[Path]) -> None:
    """Lay out the tab that runs every model on one image."""
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            image = image_input()
        with gr.Column(min_width=300):
            gr.Markdown(
                "Runs every model on one image. The latency is the median of three runs, from the file to the "
                "probabilities. The first comparison takes longer, because it loads the models."
            )
            loaded = examples(pictures, store, image)
    panels = gr.HTML(elem_id="comparison", elem_classes="thaw-html")

    def run(path: str | None, progress: gr.Progress = gr.Progress()):  # noqa: B008  # so Gradio finds it
        """Return the predictions of every model for one image, as HTML."""
        if path is None:
            return ""
        with errors_shown():
            results = demo_predictions.compare(store, path, partial(progress.tqdm, desc="models"))
        return demo_predictions.comparison_html(results, store.cards)

    _run_on(run, [image.input], loaded, [image], panels, "", "compare")


def _run_on(
    function: Callable, triggers: list, loaded: Dependency, inputs: list, outputs: Any, empty: Any, name: str
) -> None:
    """Call `function` on each trigger and after an example has loaded; on failure show `empty`."""
    # Not on the image's change event, which fires twice when an upload replaces another.
    run = gr.on(triggers, function, inputs, outputs, trigger_mode="always_last", show_progress="minimal", api_name=name)
    after = loaded.then(function, inputs, outputs, show_progress="minimal", api_visibility="private")
    for event in (run, after):
        event.failure(lambda: empty, None, outputs, queue=False, api_visibility="private")


def batch(store: ModelStore) -> None:
    """Lay out the tab that classifies many files into a table and a CSV file."""
    gr.Markdown(f"Classify up to {BATCH_FILES} images at once. The CSV file has the probability of every class.")
    with gr.Row(equal_height=False):
        files = gr.File(file_count="multiple", file_types=["image"], label="Images", height=200, min_width=300)
        with gr.Column(min_width=300):
            model = _model_choice(store)
            start = gr.Button("Classify all", variant="primary")
            download = gr.DownloadButton("Download CSV", interactive=False)
    table = _table(elem_id="results")

    def run(paths: list[str] | None, name: str, progress: gr.Progress = gr.Progress()):  # noqa: B008
        if not paths:
            raise _error("Choose some images first.")
        if len(paths) > BATCH_FILES:
            raise _error(f"A batch may have at most {BATCH_FILES} images. Received: {len(paths)}.")
        with errors_shown():
            classifier = store.get(name)
            results = demo_predictions.predict_files(classifier, paths, partial(progress.tqdm, desc="batches"))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, f"{name}.csv")
            file.write_text(demo_predictions.as_csv(results, classifier.card.labels), encoding="utf-8")
            cached = download.move_resource_to_block_cache(file)  # Gradio deletes it together with the uploads
        return demo_predictions.table(results).as_html(), gr.DownloadButton(value=cached, interactive=True)

    start.click(run, [files, model], [table, download], api_visibility="private")


def benchmark(results: Path) -> None:
    """Lay out the tab of measured results and plots."""
    tables = demo_results.tables(results)
    plots = demo_results.pictures(results)
    if not tables and not plots:
        gr.Markdown("There are no results here. `python benchmark.py` lists the experiments.")
    elif tables:
        gr.Markdown("Measured with `python benchmark.py`. Click a column header to sort.")
    for table in tables:
        gr.Markdown(f"### {table.title}")
        _table(table)
        gr.Markdown(table.note, elem_classes="thaw-note")
    if plots:
        gr.Markdown("### Plots")
    with gr.Row():
        for path, title in plots:
            gr.Image(
                str(path), show_label=False, interactive=False, buttons=["fullscreen"], alt_text=title, min_width=300
            )


def _table(table: demo_results.Table | None = None, elem_id: str | None = None) -> gr.HTML:
    content = table and table.as_html()
    return gr.HTML(
        content, elem_id=elem_id, elem_classes="thaw-html", js_on_load=SORT_ON_CLICK, apply_default_css=False
    )


def about(store: ModelStore) -> None:
    """Lay out the tab that describes the models and their limits."""
    labels = ", ".join(store.cards[store.default].labels)
    limits = {"formats": ", ".join(FORMATS), "megapixels": MAX_PIXELS // 1_000_000, "megabytes": FILE_MEGABYTES}
    gr.Markdown(ABOUT.format(labels=labels, **limits))
    gr.Markdown("## Model cards")
    cards = "".join(_card(name, card, name == store.default) for name, card in store.cards.items())
    gr.HTML(cards, elem_id="cards", elem_classes="thaw-html")


def _card(name: str, card: Card, is_open: bool) -> str:
    tta = card.test_accuracy_tta
    facts = {
        "Network": card.name,
        "Test accuracy": f"{card.test_accuracy:.2%}" + ("" if tta is None else f", test-time augmentation {tta:.2%}"),
        "Validation accuracy": f"{card.val_accuracy:.2%}",
        "Parameters": f"{card.parameters['total']:,}, of which {card.parameters['trainable']:,} were trained",
        "Input": f"{card.input_size}×{card.input_size} pixels, RGB; resize mode: {card.resize_mode}"
        + (f" of {card.resolution}×{card.resolution}" if card.resize_mode == "thumbnail" else ""),
        "Calibration": f"temperature {card.temperature:.3f}, exponent {card.exponent:.3f}, fitted on the validation images",
        "Initial weights": card.weights,
        "Data": card.data,
        "Recipe": f"{card.recipe}, seed {card.seed}",
        "Reproduce": card.command,
        "Trained": f"{card.date}, {card.seconds / 60:.1f} minutes, {card.hardware}",
        "Version": card.version,
    }
    rows = "".join(f"<dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd>" for key, value in facts.items())
    summary = f"<summary>{html.escape(name)}<small>{card.test_accuracy:.2%}</small></summary>"
    return f'<details class="thaw-details"{" open" if is_open else ""}>{summary}<dl>{rows}</dl></details>'


def image_input() -> gr.Image:
    """Return an image component for upload, webcam and paste. Its handler gets the path of the original file."""
    image = gr.Image(
        label="Image",
        type="filepath",
        image_mode=None,
        format="png",
        sources=["upload", "webcam", "clipboard"],
        height=320,
        buttons=["fullscreen"],
        webcam_options=gr.WebcamOptions(mirror=False),
    )
    # Otherwise Gradio decodes the file first and reports damage in its own words. The method is replaced on the object,
    # because Gradio writes an interface file beside the source of every subclass of a component.
    preprocess = image.preprocess
    image.preprocess = lambda sent: sent.path if sent is not None and sent.path else preprocess(sent)
    return image


def _image_output(label: str, file_format: str, alternative: str) -> gr.Image:
    return gr.Image(
        label=label,
        interactive=False,
        buttons=["fullscreen", "download"],
        format=file_format,
        alt_text=alternative,
        min_width=140,
    )


def examples(pictures: Sequence[Path], store: ModelStore, image: gr.Image) -> Dependency:
    """Lay out example images, the out-of-distribution ones last. Returns the event of a click, which loads one into `image`."""
    labels = store.cards[store.default].labels
    pictures = sorted(pictures, key=lambda path: path.stem not in labels)
    # gr.Examples would create a new image component on each click, without the changes of `image_input`.
    buttons = "".join(_example(index, path, path.stem in labels) for index, path in enumerate(pictures))
    content = f'<div class="thaw-examples">{buttons}</div>'
    row = gr.HTML(content, elem_classes="thaw-html", js_on_load=SELECT_ON_CLICK, apply_default_css=False)

    def load(event: gr.SelectData):
        return str(pictures[event.index])

    return row.select(load, None, image, show_progress="hidden", queue=False, api_visibility="private")


def _example(index: int, path: Path, in_distribution: bool) -> str:
    buffer = io.BytesIO()
    ImageOps.fit(Image.open(path).convert("RGB"), (128, 128)).save(buffer, "JPEG", quality=80)
    source = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    name, note = html.escape(path.stem), "" if in_distribution else ", out-of-distribution"
    badge = "" if in_distribution else "<b>OOD</b>"
    return (
        f'<button type="button" data-index="{index}" title="{name}{note}" aria-label="Example: {name}{note}">'
        f'<img src="{source}" alt="">{badge}<span>{name}</span></button>'
    )


@contextlib.contextmanager
def errors_shown() -> Iterator[None]:
    """Show errors of an upload or a model on the page."""
    try:
        yield
    except (ImageError, ModelFileError) as error:
        raise _error(str(error)) from error
    except FileNotFoundError as error:  # uploads are deleted after an hour
        raise _error("The image has been deleted. Please upload it again.") from error


def _error(message: str) -> gr.Error:
    return gr.Error(html.escape(message), title="Error", print_exception=False)


def _model_choice(store: ModelStore) -> gr.Dropdown:
    choices = [(f"{name} ({card.test_accuracy:.1%})", name) for name, card in store.cards.items()]
    return gr.Dropdown(choices, value=store.default, label="Model", info="with its test accuracy")
