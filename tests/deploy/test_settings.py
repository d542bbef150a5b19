"""The operator's variables: read, typed and checked."""

import threading
from pathlib import Path

import pytest

from deploy.concurrency import ConcurrencyLimiter
from deploy.settings import Settings


def test_what_is_unset_or_empty_leaves_the_default():
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
        ("THAW_MAX_BATCH", "many", "THAW_MAX_BATCH must be of type int. Received: 'many'"),
        ("THAW_MAX_BATCH", "0", "max_batch must be at least 1. Received: max_batch=0"),
        ("THAW_QUEUE_SECONDS", "nan", "queue_seconds must be at least 0"),
        ("THAW_ENGINE", "steam", "engine must be one of auto, onnxruntime, keras. Received: engine='steam'"),
    ],
)
def test_a_wrong_value_is_told(variable, value, message):
    with pytest.raises(ValueError, match=message):
        Settings.from_environment({variable: value})


def test_a_wait_may_be_without_end():
    limiter = ConcurrencyLimiter(concurrency=1, queue=1, seconds=float("inf"))
    entered = threading.Event()

    def second():
        with limiter.enter():
            entered.set()

    with limiter.enter():
        waiting = threading.Thread(target=second)
        waiting.start()
        assert not entered.wait(0.1)
    assert entered.wait(10)
    waiting.join()
