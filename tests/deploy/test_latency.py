"""The timing of answers: every model under every engine, in turns."""

from deploy.measure import latency


def test_each_model_has_its_turn_under_each_engine(saved_models, monkeypatch):
    turns = []
    answer = latency._seconds
    monkeypatch.setattr(
        latency, "_seconds", lambda engine, images: turns.append((engine.name, len(images))) or answer(engine, images)
    )
    folders = {name: saved_models / name for name in ("tiny_a", "tiny_b")}
    rows = latency.measure_latency(folders, rounds=2, singles=3)
    assert [(row["model"], row["engine"]) for row in rows] == [
        (name, engine) for name in ("tiny_a", "tiny_b") for engine in latency.ENGINES
    ]
    one_round = [(engine, count) for engine in ("onnxruntime", "keras (tensorflow)") for count in (1, 1, 1, 32)]
    assert turns == 4 * one_round
    for row in rows:
        assert row["input_size"] == 16
        assert 0 < row["median_ms"] <= row["p95_ms"]
        assert row["images_per_second"] > 0
