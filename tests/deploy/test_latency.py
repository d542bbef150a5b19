"""The timing of answers: every model under every engine, in turns."""

import json
import shutil

from PIL import Image

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


def test_uploads_are_timed_as_shipped_and_the_plain_way(saved_models, tmp_path, monkeypatch):
    asked = []
    classify = latency.Classifier.classify
    monkeypatch.setattr(
        latency.Classifier, "classify",
        lambda self, data, *_, **__: (
            asked.append((self.card.fit, self.novelty is not None, data[:4])) if isinstance(data, bytes) else None
        ) or classify(self, data),
    )  # fmt: skip
    card = json.loads((saved_models / "tiny_a" / "card.json").read_text())
    folder = shutil.copytree(saved_models / "tiny_a", tmp_path / "tiny_a")
    (folder / "card.json").write_text(json.dumps(card | {"fit": "thumbnail", "resolution": 8}))
    Image.new("RGB", (90, 60), "teal").save(tmp_path / "photograph.jpg")
    rows = latency.measure_uploads({"a": folder}, tmp_path / "photograph.jpg", rounds=2)
    assert [row["image"] for row in rows] == ["32×32 PNG", "1024×768 JPEG"]
    assert all(row["plain_ms"] > 0 and row["shipped_ms"] > 0 and row["model"] == "a" for row in rows)
    ways = [("bilinear", False), ("thumbnail", True)]
    assert [one[:2] for one in asked] == 4 * ways
    assert [one[2] for one in asked] == 4 * [b"\x89PNG"] + 4 * [b"\xff\xd8\xff\xe0"]


def test_a_ranking_is_the_same_where_the_models_of_both_follow_in_the_same_order():
    def rows(**times):
        return [
            {"model": model, "engine": engine, "median_ms": median}
            for model, both in times.items()
            for engine, median in zip(latency.ENGINES, both, strict=True)
        ]

    before = rows(a=(3.0, 1.0), b=(2.0, 5.0))
    assert latency.same_ranking(before, rows(a=(9.0, 1.0), b=(8.0, 2.0))) is True
    assert latency.same_ranking(before, rows(a=(9.0, 1.0), new=(8.5, 0.5), b=(8.0, 2.0))) is True
    assert latency.same_ranking(before, rows(a=(9.0, 3.0), b=(8.0, 2.0))) is False, "under Keras they changed places"
    assert latency.same_ranking(before, rows(new=(1.0, 1.0))) is None
