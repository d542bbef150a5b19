"""gradio_app.py: its help, and errors when it cannot start."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="gradio is not installed")

import gradio_app
from models.saved.card import CARD_FILE

ROOT = Path(gradio_app.__file__).parent


def test_no_model_and_a_damaged_card_are_errors(tmp_path, capsys):
    assert gradio_app.main(["--models", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert str(tmp_path) in error and "python train.py" in error
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / CARD_FILE).write_text("{}")
    assert gradio_app.main(["--models", str(tmp_path)]) == 1
    assert str(tmp_path / "one") in capsys.readouterr().err


def test_a_wrong_port_is_an_error(capsys):
    with pytest.raises(SystemExit) as stopped:
        gradio_app.main(["--port", "70000"])
    assert stopped.value.code == 2
    assert "70000" in capsys.readouterr().err


def test_help_imports_no_gradio_and_the_demo_no_tensorflow():
    script = (
        "import sys, gradio_app\ntry: gradio_app.main(['--help'])\nexcept SystemExit: pass\n"
        "assert 'gradio' not in sys.modules\nimport deploy.demo\n"
        "print([name for name in ('tensorflow', 'keras', 'sklearn', 'training') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("[]")
    assert "--share" in done.stdout


def test_a_port_that_is_taken_is_an_error(saved_models, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert gradio_app.main(["--models", str(saved_models), "--host", "127.0.0.1", "--port", str(port)]) == 1
    assert f"127.0.0.1:{port}" in capsys.readouterr().err
