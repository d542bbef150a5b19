"""Off a terminal long work logs done/total, rate and time left; short work logs nothing."""

import logging

from runtime import progress


def logged(caplog, seconds, monkeypatch, result=None):
    with caplog.at_level(logging.INFO, logger=progress.__name__):
        bar = progress.ProgressBar(total=1000, desc="frozen layers", unit=" images")
        clock = bar.start_t
        monkeypatch.setattr(bar, "_time", lambda: clock)
        for step in range(1, 11):
            clock = bar.start_t + seconds * step / 10
            bar.update(100)
        bar.finish(result) if result else bar.close()
    return [record.getMessage() for record in caplog.records]


def test_a_log_gets_a_line_at_least_every_minute(caplog, monkeypatch):
    lines = logged(caplog, 600, monkeypatch)
    assert 9 <= len(lines) <= 21
    assert "frozen layers: 500/1000 images" in "\n".join(lines)
    assert all("images/s" in line or "s/ images" in line for line in lines)
    assert any("05:00 left" in line for line in lines)


def test_short_work_logs_nothing(caplog, monkeypatch):
    assert logged(caplog, 10, monkeypatch) == []


def test_a_result_is_logged_once(caplog, monkeypatch):
    for seconds in (10, 600):
        caplog.clear()
        lines = logged(caplog, seconds, monkeypatch, "loss 0.1")
        assert lines[-1] == "frozen layers: loss 0.1"
        assert sum("1000/1000" in line for line in lines) <= 1
