"""Settings from environment variables, and the concurrency limiter."""

import threading
from pathlib import Path

import pytest

from deploy.concurrency import ConcurrencyLimiter
from deploy.settings import Settings


def test_an_empty_variable_leaves_the_default():
    assert Settings.from_environment({"THAW_MAX_BATCH": ""}) == Settings()


def test_each_field_has_its_variable():
    given = {
        "THAW_MODELS": "/srv",
        "THAW_MAX_BYTES": "1000",
        "THAW_QUEUE_SECONDS": "0.5",
        "THAW_CORS": "https://a.test, https://b.test",
    }
    settings = Settings.from_environment(given)
    assert (settings.models, settings.max_bytes, settings.queue_seconds) == (Path("/srv"), 1000, 0.5)
    assert settings.origins == ("https://a.test", "https://b.test")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("THAW_MAX_BATCH", "many", "THAW_MAX_BATCH.*int.*many"),
        ("THAW_MAX_BATCH", "0", "max_batch=0"),
        ("THAW_QUEUE_SECONDS", "nan", "queue_seconds=nan"),
        ("THAW_ENGINE", "steam", "onnxruntime.*engine='steam'"),
    ],
)
def test_a_wrong_value_is_refused(variable, value, message):
    with pytest.raises(ValueError, match=message):
        Settings.from_environment({variable: value})


def test_the_queue_may_wait_for_ever():
    limiter = ConcurrencyLimiter(concurrency=1, queue=1, seconds=float("inf"))
    entered = threading.Event()

    def second():
        with limiter.slot():
            entered.set()

    with limiter.slot():
        waiting = threading.Thread(target=second)
        waiting.start()
        assert not entered.wait(0.1)
    assert entered.wait(10)
    waiting.join()
