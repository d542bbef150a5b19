"""The lists of doubtful test images, read in the forms that their authors chose."""

import json

from training import review_lists

TABLE = """TestID,TrainID,Distance,Judgment
6611,49007,0.07611394673585892,1
159,25768,0.07661115378141403,1
159,9640,0.0802818089723587,2
"""


def reviewed(image, given):
    answers = {"given": given, "guessed": 5 - given, "neither": 0, "both": 0}
    return {"id": image, "given_original_label": 7, "our_guessed_label": 5, "mturk": answers}


def test_both_lists_name_each_image_once(cache, monkeypatch):
    (cache / "review").mkdir(parents=True)
    table, labels = cache / "review" / "table.csv", cache / "review" / "labels.json"
    table.write_text(TABLE)
    labels.write_text(json.dumps([reviewed(52, 2), reviewed(20, 3), reviewed(7, 0)]))
    monkeypatch.setattr(review_lists.RemoteFile, "fetch", lambda self: table if self.name.endswith("csv") else labels)
    found = review_lists.fetch_review()
    assert {name: each["images"] for name, each in found.items()} == {
        "near_duplicates": [159, 6611],
        "unconfirmed_labels": [7, 52],
    }
    assert all(set(each) == {"what", "source", "images"} for each in found.values())
