"""The measurement of sets of views, on the tiny network: what it records, and that the test set is left alone."""

import pytest

from training import gap_tables, measure_views
from training.views import check_views


def test_each_set_is_trained_and_asked_in_every_condition(tiny_recipes, unseen, tmp_path, monkeypatch):
    monkeypatch.setattr(measure_views, "CONDITIONS", ("identity", "jpeg_50", "brightness_0.01"))
    small = {"image_size": 16, "epochs": 1}
    measure_views.measure_views(tmp_path / "runs", tmp_path, ["and both"], **small)
    result = measure_views.measure_views(tmp_path / "runs", tmp_path, ["as it is, mirrored, shifted"], **small)
    assert [row["views"] for row in result["runs"]] == ["as it is, mirrored, shifted", "and both"]
    assert [len(row["set"]) for row in result["runs"]] == [4, 6]
    for row in result["runs"]:
        assert list(row["accuracy"]) == ["identity", "jpeg_50", "brightness_0.01"]
        assert row["accuracy"]["identity"] > 0.7 > row["accuracy"]["brightness_0.01"]
    table = gap_tables.robust_views(result, {})
    assert "| views | number | as it is | jpeg_50 |" in table
    assert f"| and both | 6 | {result['runs'][1]['accuracy']['identity']:.1%} |" in table
    with pytest.raises(ValueError, match="holds runs of 1 epochs at 16 pixels: move it away first"):
        measure_views.measure_views(tmp_path / "runs", tmp_path, image_size=16, epochs=2)
    with pytest.raises(ValueError, match="sets must be of: as it is, mirrored, shifted; .* Received: 'XXL'"):
        measure_views.measure_views(tmp_path / "runs", tmp_path, ["XXL"], **small)


@pytest.mark.parametrize("views", measure_views.CANDIDATES.values(), ids=measure_views.CANDIDATES)
def test_a_set_begins_with_the_image_itself_and_names_views(views):
    check_views(views)
    assert views[0] == "identity" and len(set(views)) == len(views)
