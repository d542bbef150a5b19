"""The tabs of the demo: what stands where, and what happens on a click."""

import base64
import contextlib
import html
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import Dependency
from PIL import Image, ImageOps

from deploy import demo_answers, demo_results
from inference.decode import FORMATS, MAX_PIXELS, ImageError
from inference.model_store import ModelStore
from models.saved.card import Card, ModelFileError

FILE_MEGABYTES = 10  # of one upload, at most
BATCH_FILES = 200  # of one batch, at most
CHOOSES = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) trigger("select", {index: Number(button.dataset.index), value: null});
});
"""
SORTS = (Path(__file__).parent / "demo.js").read_text(encoding="utf-8")
HINT = "Load a picture or click an example. A click on one of the top 3 shows where the model sees it."


def classify(store: ModelStore, pictures: Sequence[Path]) -> None:
    """Lay out the tab that answers one image and shows where the model looked."""
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            image = image_input()
            loaded = examples(pictures, image)
            model = _model_choice(store)
        with gr.Column(min_width=300):
            label = gr.Label(label="Top 3", num_top_classes=demo_answers.TOP, elem_id="answer")
            doubt = gr.Markdown(visible=False, elem_id="doubt", elem_classes="thaw-doubt")
            with gr.Row():
                saw, looked = (
                    gr.Image(
                        label=label_,
                        interactive=False,
                        buttons=["fullscreen", "download"],
                        format=format_,
                        alt_text=alternative,
                        min_width=140,
                    )
                    for label_, format_, alternative in (
                        ("What the model sees", "png", "The picture at the size that the model takes"),
                        ("Where it looked", "jpeg", "What the model sees, warmer where it speaks for the class"),
                    )
                )
            note = gr.Markdown(HINT)

    def answer(path: str | None, name: str):
        """Return the probabilities of one image, what speaks against them, what the model sees, where it looked, a sentence."""
        if path is None:
            return nothing
        with told_to_the_visitor():
            classifier = store.get(name)
            prediction, milliseconds = demo_answers.answer(classifier, path)
            seen = demo_answers.seen(classifier, path)
        size = classifier.card.input_size
        facts = f"{seen.sentence} {milliseconds:.0f} ms, {size}×{size} pixels, {classifier.engine.name}."
        reason = demo_answers.doubt(prediction)
        warned = gr.update(value=f"**Uncertain.** {reason}" if reason else "", visible=bool(reason))
        return prediction.probabilities, warned, seen.pixels, seen.heat, facts

    def explain(path: str | None, name: str, event: gr.SelectData):
        with told_to_the_visitor():
            if path is None:
                return None, HINT
            seen = demo_answers.seen(store.get(name), path, event.value)
            return seen.heat, seen.sentence

    outputs = [label, doubt, saw, looked, note]
    nothing = (None, gr.update(value="", visible=False), None, None, HINT)
    _ask(answer, [image.input, model.change], loaded, [image, model], outputs, nothing, "classify")
    label.select(explain, [image, model], [looked, note], show_progress="minimal", api_visibility="private")


def compare(store: ModelStore, pictures: Sequence[Path]) -> None:
    """Lay out the tab that asks every model about one image."""
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            image = image_input()
        with gr.Column(min_width=300):
            gr.Markdown(
                f"{_models(store)} The time is the median of three, from the file to the probabilities, with the model "
                "in memory. The first comparison takes longer, because it loads what is not loaded yet."
            )
            loaded = examples(pictures, image)
    panels = gr.HTML(elem_id="compared", elem_classes="thaw-html")

    def answer(path: str | None, progress: gr.Progress = gr.Progress()):  # noqa: B008  # so Gradio finds it
        """Return the answers of every model to one image, as HTML."""
        if path is None:
            return ""
        with told_to_the_visitor():
            answers = demo_answers.compare(store, path, lambda names: progress.tqdm(names, desc="models"))
        return demo_answers.side_by_side(answers, store.cards)

    _ask(answer, [image.input], loaded, [image], panels, "", "compare")


def _ask(
    answer: Callable, triggers: list, loaded: Dependency, inputs: list, outputs: Any, nothing: Any, name: str
) -> None:
    """Have `answer` called on each trigger and once an example is loaded, and `nothing` shown where it fails."""
    # Not on the image's change: that happens twice when an upload takes the place of another.
    asked = gr.on(triggers, answer, inputs, outputs, trigger_mode="always_last", show_progress="minimal", api_name=name)
    after = loaded.then(answer, inputs, outputs, show_progress="minimal", api_visibility="private")
    for event in (asked, after):
        event.failure(lambda: nothing, None, outputs, queue=False, api_visibility="private")


def batch(store: ModelStore) -> None:
    """Lay out the tab that answers many files in a table."""
    gr.Markdown(f"Up to {BATCH_FILES} pictures at once. The CSV file holds the probability of every class.")
    with gr.Row(equal_height=False):
        files = gr.File(file_count="multiple", file_types=["image"], label="Pictures", height=200, min_width=300)
        with gr.Column(min_width=300):
            model = _model_choice(store)
            start = gr.Button("Classify all", variant="primary")
            download = gr.DownloadButton("Download CSV", interactive=False)
    answers = _table(elem_id="answers")

    def answer(paths: list[str] | None, name: str, progress: gr.Progress = gr.Progress()):  # noqa: B008
        if not paths:
            raise _refusal("Choose some pictures first.")
        if len(paths) > BATCH_FILES:
            raise _refusal(f"A batch has at most {BATCH_FILES} pictures. Received: {len(paths)}.")
        with told_to_the_visitor():
            classifier = store.get(name)
            rows = demo_answers.answer_files(classifier, paths, lambda starts: progress.tqdm(starts, desc="batches"))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, f"{name}.csv")
            file.write_text(demo_answers.as_csv(rows, classifier.card.labels), encoding="utf-8")
            kept = download.move_resource_to_block_cache(file)  # where it is deleted together with the uploads
        return demo_answers.table(rows).as_html(), gr.DownloadButton(value=kept, interactive=True)

    start.click(answer, [files, model], [answers, download], api_visibility="private")


def benchmark(results: Path) -> None:
    """Lay out the tab of measured numbers and plots."""
    tables = demo_results.tables(results)
    plots = demo_results.pictures(results)
    if not tables and not plots:
        gr.Markdown("There are no results here. `python benchmark.py` lists the experiments.")
    elif tables:
        gr.Markdown("Measured by `python benchmark.py`. Click on a column to sort by it.")
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
    return gr.HTML(
        table and table.as_html(), elem_id=elem_id, elem_classes="thaw-html", js_on_load=SORTS, apply_default_css=False
    )


def about(store: ModelStore) -> None:
    """Lay out the tab of what the models are and what they cannot do."""
    labels = ", ".join(store.cards[store.default].labels)
    limits = {"formats": ", ".join(FORMATS), "megapixels": MAX_PIXELS // 1_000_000, "megabytes": FILE_MEGABYTES}
    gr.Markdown(ABOUT.format(labels=labels, **limits))
    gr.Markdown("## Model cards")
    gr.HTML(
        "".join(_card(name, card, name == store.default) for name, card in store.cards.items()),
        elem_id="cards",
        elem_classes="thaw-html",
    )


def image_input() -> gr.Image:
    """Return a place to upload, photograph or paste an image, whose handler gets the path of the file as it was sent."""
    image = gr.Image(
        label="Picture",
        type="filepath",
        image_mode=None,
        format="png",
        sources=["upload", "webcam", "clipboard"],
        height=320,
        buttons=["fullscreen"],
        webcam_options=gr.WebcamOptions(mirror=False),
    )
    # Gradio would open the file first, and answer a damaged one with its own words; ours say what is wrong with it. Of an
    # object, not of a class: Gradio writes an interface file beside the source of every class derived from a component.
    of_gradio = image.preprocess
    image.preprocess = lambda sent: sent.path if sent is not None and sent.path else of_gradio(sent)
    return image


def examples(pictures: Sequence[Path], image: gr.Image) -> Dependency:
    """Lay out example images, of which a click loads one, and return that event."""
    # Not by gr.Examples: that makes the image component anew at each click, without what `image_input` did to it.
    buttons = "".join(
        f'<button type="button" data-index="{index}"><img src="{_thumbnail(path)}" alt="Example: {path.stem}"></button>'
        for index, path in enumerate(pictures)
    )
    row = gr.HTML(
        f'<div class="thaw-examples">{buttons}</div>',
        elem_classes="thaw-html",
        js_on_load=CHOOSES,
        apply_default_css=False,
    )

    def load(event: gr.SelectData):
        return str(pictures[event.index])

    return row.select(load, None, image, show_progress="hidden", queue=False, api_visibility="private")


def _thumbnail(path: Path) -> str:
    buffer = io.BytesIO()
    ImageOps.fit(Image.open(path).convert("RGB"), (96, 96)).save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


@contextlib.contextmanager
def told_to_the_visitor() -> Iterator[None]:
    """Turn what may go wrong with an upload or a model into a message on the page."""
    try:
        yield
    except (ImageError, ModelFileError) as error:
        raise _refusal(str(error)) from error
    except FileNotFoundError as error:  # uploads are deleted after an hour
        raise _refusal("The picture is no longer here. Please send it again.") from error


def _refusal(message: str) -> gr.Error:
    return gr.Error(html.escape(message), title="No answer", print_exception=False)


def _model_choice(store: ModelStore) -> gr.Dropdown:
    choices = [(f"{name} ({card.test_accuracy:.1%})", name) for name, card in store.cards.items()]
    return gr.Dropdown(choices, value=store.default, label="Model", info="with its accuracy on the test images")


def _models(store: ModelStore) -> str:
    count = len(store.cards)
    return (
        f"Asks all {count} models about one picture." if count > 1 else "There is one model; more stand side by side."
    )


def _card(name: str, card: Card, is_open: bool) -> str:
    tta = card.test_accuracy_tta
    facts = {
        "Network": card.name,
        "Test accuracy": f"{card.test_accuracy:.2%}" + ("" if tta is None else f", averaged over views {tta:.2%}"),
        "Validation accuracy": f"{card.val_accuracy:.2%}",
        "Parameters": f"{card.parameters['total']:,}, of them trained {card.parameters['trainable']:,}",
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


ABOUT = """
## What this is

Networks trained on CIFAR-10, 50,000 pictures of 32×32 pixels in ten classes: {labels}. Most begin with a backbone that has
learned ImageNet: its layers are frozen while a new head learns; then, in phase finetune, the last of them are thawed. What
answers here is an ONNX file on a CPU.

A picture becomes a thumbnail as small as those that the model learned from, and is enlarged to the model's size. Of the longer
side a part is cut off, and the rest squeezed into a square. **What the model sees** is the outcome. Its probabilities are
calibrated: the distances between their logarithms are stretched or shrunk, so that of the answers given with 80% about 80% are
right, on pictures like those of CIFAR-10.

**Where it looked** is coloured by [Grad-CAM](https://arxiv.org/abs/1610.02391): how much each spot of the last feature
map speaks for a class. It is coarse, a few spots across, and says where, not why.

## Limits

* There are only ten answers. A picture of anything else gets one of them too, sometimes with a high probability.
  Where a model finds it unlike what it learned from, the answer is marked as uncertain; that too is sometimes wrong.
* The accuracy holds for CIFAR-10's test images. On pictures collected later in the same way, such models lose several
  points ([Recht et al. 2018](https://arxiv.org/abs/1806.00451)); your own photographs differ more.
* One thing in the middle of the picture is what the models know. What lies far from the middle of the longer side is not seen.
* Learned from pictures found on the web: kinds of animals and vehicles that were rare there are recognised less well.
* Not for decisions about people, and not where a wrong answer does harm.

Pictures: {formats}, up to {megapixels} megapixels and {megabytes} MB. They are used for the answer only, and deleted about an
hour later.
"""
