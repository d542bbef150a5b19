"""The Gradio demo of the saved models."""

import os
from pathlib import Path

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # Gradio sends analytics from its import on

import gradio as gr

from deploy import demo_tabs
from inference.model_store import ModelStore

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES, RESULTS, STYLES = ROOT / "deploy" / "examples", ROOT / "results", ROOT / "deploy" / "demo.css"

QUEUE = 32  # requests that may wait; further ones get an error
CONCURRENCY = 2  # requests of one tab that run at the same time; onnxruntime uses every core for each
CLEANUP_INTERVAL, UPLOAD_LIFETIME = 600, 3600  # seconds

SHADES = "#eef8fb #d5eef5 #aedeea #7ac8dc #3faac6 #1f8dab #16718c #155b72 #174b5e #173f50 #0a2835"  # c50 to c950
ICE = gr.themes.Color(*SHADES.split(), name="ice")
SANS = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Consolas", "DejaVu Sans Mono", "monospace")
THAW = "linear-gradient(90deg, #1f8dab, #e8793c)"  # from ice to warm


def theme() -> gr.themes.Base:
    """Return the demo's theme, light and dark. It uses system fonts, so nothing is fetched."""
    base = gr.themes.Base(
        primary_hue=ICE, secondary_hue="orange", neutral_hue="slate", radius_size="lg", font=SANS, font_mono=MONO
    )
    return base.set(
        body_background_fill="#f4f8fa",
        body_background_fill_dark="#0c1418",
        background_fill_primary_dark="#142026",
        background_fill_secondary_dark="#101a1f",
        block_background_fill_dark="#142026",
        input_background_fill_dark="#1d2d35",
        table_odd_background_fill="#f4f8fa",
        table_odd_background_fill_dark="#182730",
        border_color_primary_dark="#2a3b44",
        block_border_color_dark="#2a3b44",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_shadow="0 1px 3px rgba(10, 40, 53, 0.08)",
        block_label_text_color="*primary_700",
        block_label_text_color_dark="*primary_200",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        button_primary_text_color="white",
        link_text_color="*primary_700",
        link_text_color_hover="*primary_800",
        link_text_color_active="*primary_800",
        link_text_color_visited="*primary_700",
        link_text_color_dark="*primary_300",
        link_text_color_hover_dark="*primary_200",
        link_text_color_active_dark="*primary_200",
        link_text_color_visited_dark="*primary_300",
        stat_background_fill=THAW,
        stat_background_fill_dark=THAW,
    )


def build(store: ModelStore, results: Path = RESULTS, examples: Path = EXAMPLES) -> gr.Blocks:
    """Return the page, ready to launch. Each model is loaded on first use."""
    pictures = sorted(path for path in examples.glob("*") if path.suffix == ".jpg")
    with gr.Blocks(title="Thaw", analytics_enabled=False, delete_cache=(CLEANUP_INTERVAL, UPLOAD_LIFETIME)) as page:
        gr.HTML(HEADER, elem_classes="thaw-html")
        with gr.Tabs(overflow_behavior="wrap"):
            with gr.Tab("Classify"):
                demo_tabs.classify(store, pictures)
            with gr.Tab("Compare"):
                demo_tabs.compare(store, pictures)
            with gr.Tab("Batch"):
                demo_tabs.batch(store)
            with gr.Tab("Benchmark"):
                demo_tabs.benchmark(results)
            with gr.Tab("About"):
                demo_tabs.about(store)
    return page.queue(max_size=QUEUE, default_concurrency_limit=CONCURRENCY)


def launch(page: gr.Blocks, *, host: str | None = None, port: int | None = None, **options) -> str:
    """Serve a page of `build` and return its address. Raises an OSError if the port is in use.

    Host None is $GRADIO_SERVER_NAME, else 127.0.0.1. Port None is $GRADIO_SERVER_PORT, else the first free one from 7860. The
    options go to `gr.Blocks.launch`, which by default returns only when the server is interrupted.
    """
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        theme=theme(),
        css_paths=STYLES,
        max_file_size=f"{demo_tabs.FILE_MEGABYTES}mb",
        allowed_paths=[str(EXAMPLES)],
        footer_links=["settings"],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        **options,
    )
    return address


def serve(models: Path, *, host: str | None = None, port: int | None = None, share: bool = False) -> None:
    """Serve the demo of the models in a folder until it is interrupted. Raises a ModelFileError if there are none."""
    launch(build(ModelStore(models)), host=host, port=port, share=share)


HEADER = """
<div class="thaw-header">
  <h1>Thaw</h1>
  <p>Image classification on a CPU in milliseconds, with Grad-CAM and out-of-distribution detection.</p>
</div>
"""
