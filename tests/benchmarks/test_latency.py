"""The latency of predictions: every model in every engine, and uploads."""

import itertools
import json
import shutil

from PIL import Image

from benchmarks.experiments import latency, upload_cost


def test_each_model_is_timed_in_each_engine(saved_models):
    names = ("tiny_a", "tiny_b")
    rows = latency.measure_latency({name: saved_models / name for name in names}, rounds=2, singles=3)
    assert [(row["model"], row["engine"]) for row in rows] == list(itertools.product(names, latency.ENGINES))
    for row in rows:
        assert row["input_size"] == 16
        assert 0 < row["median_ms"] <= row["p95_ms"]
        assert row["images_per_second"] > 0 and len(row["rounds_ms"]) == 2


def test_uploads_are_timed_as_shipped_and_the_plain_way(saved_models, options, tmp_path, monkeypatch):
    seen = []
    classify = upload_cost.Classifier.classify

    def recorded(self, data, *arguments, **options):
        if isinstance(data, bytes):
            seen.append((self.card.resize_mode, self.ood_detector is not None, data[:4]))
        return classify(self, data, *arguments, **options)

    monkeypatch.setattr(upload_cost.Classifier, "classify", recorded)
    card = json.loads((saved_models / "tiny_a" / "card.json").read_text())
    folder = shutil.copytree(saved_models / "tiny_a", tmp_path / "store" / "a")
    (folder / "card.json").write_text(json.dumps(card | {"resize_mode": "thumbnail", "resolution": 8}))
    Image.new("RGB", (90, 60), "teal").save(tmp_path / "photograph.jpg")
    rows = upload_cost.run(options(rounds=2), tmp_path / "store", tmp_path / "photograph.jpg")["runs"]
    assert [row["image"] for row in rows] == ["32×32 PNG", "1024×768 JPEG"]
    assert all(row["plain_ms"] > 0 and row["shipped_ms"] > 0 and row["model"] == "a" for row in rows)
    assert [way for *way, _ in seen] == 4 * [["bilinear", False], ["thumbnail", True]]
    assert [data for *_, data in seen] == 4 * [b"\x89PNG"] + 4 * [b"\xff\xd8\xff\xe0"]


def test_models_whose_rounds_do_not_differ_significantly_are_ties():
    steady, slower, mixed = [1.0] * 20, [1.1] * 20, [1.0, 1.2] * 10
    rounds = {("a", "onnxruntime"): steady, ("a", "keras"): slower, ("b", "onnxruntime"): slower, ("b", "keras"): mixed}
    rows = [{"model": model, "engine": engine, "rounds_ms": times} for (model, engine), times in rounds.items()]
    assert latency.ties(rows) == [("keras", "a", "b")]
