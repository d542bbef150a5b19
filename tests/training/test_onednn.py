import os
import platform
import subprocess
import sys

import pytest


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="on other processors TensorFlow decides")
@pytest.mark.parametrize(("chosen", "used"), [(None, True), ("0", False)])
def test_tensorflow_computes_with_onednn_unless_the_user_turns_it_off(chosen, used):
    script = "import training, tensorflow; from tensorflow.python.util import _pywrap_util_port as p; print(p.IsMklEnabled())"
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    if chosen is not None:
        environment["TF_ENABLE_ONEDNN_OPTS"] = chosen
    found = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(used)
