import os

import pytest

from runtime.quiet import quiet


def test_noise_is_held_back_from_other_languages_too(capfd):
    with quiet():
        os.write(2, b"chatter\n")
    assert capfd.readouterr() == ("", "")


def test_noise_is_shown_when_something_failed(capfd):
    def noisy():
        with quiet():
            os.write(2, b"the reason\n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        noisy()
    assert "the reason" in capfd.readouterr().err
