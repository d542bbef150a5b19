"""The corpus of hostile requests is what it says: large, the same every time, and its images are refused or answered."""

import collections

import pytest
from hostile import HostileRequest, hostile_requests, odd_but_fine, status_of


@pytest.fixture(scope="module")
def hostile() -> list[HostileRequest]:
    return hostile_requests()


@pytest.fixture(scope="module")
def odd() -> list[HostileRequest]:
    return odd_but_fine()


def test_there_are_many_and_each_has_a_name_of_its_own(hostile, odd):
    assert len(hostile) >= 300
    assert len(odd) >= 20
    names = collections.Counter(request.name for request in [*hostile, *odd])
    assert [name for name, count in names.items() if count > 1] == []


def test_no_two_are_the_same_request(hostile):
    sent = collections.defaultdict(list)
    for request in hostile:
        key = (request.method, request.path, tuple(request.headers.items()), request.body)
        sent[key].append(request.name)
    assert [names for names in sent.values() if len(names) > 1] == []


def test_the_corpus_is_the_same_every_time(hostile, odd):
    assert hostile_requests() == hostile
    assert odd_but_fine() == odd


def test_every_hostile_image_is_refused_as_labelled(hostile):
    images = [request for request in hostile if request.image is not None]
    assert len(images) > 250
    for request in images:
        assert status_of(request.image) in request.statuses, request.name
        if request.headers["Content-Type"] == "image/png":
            assert request.body == request.image


def test_every_odd_image_is_answered(odd):
    for request in odd:
        assert request.statuses == {200}
        if request.image is not None:
            assert status_of(request.image) is None, request.name


def test_every_refusal_is_the_clients_fault(hostile):
    for request in hostile:
        assert request.statuses <= {400, 404, 405, 413, 415, 422}, request.name
        assert request.path.startswith("/") and request.path.isascii() and " " not in request.path
    assert {status for request in hostile for status in request.statuses} == {400, 404, 405, 413, 415, 422}


def test_every_kind_of_fault_is_there(hostile):
    kinds = collections.Counter(request.name.partition(":")[0] for request in hostile)
    assert set(kinds) == {
        "other formats",
        "polyglots",
        "damaged headers",
        "truncated",
        "corrupted",
        "damaged first frames",
        "bomb",
        "forms",
        "queries",
        "headers",
        "methods and paths",
    }
    assert min(kinds.values()) >= 5
    assert all(len(request.body) < 10 * 2**20 for request in hostile)
