"""How many URLs a request names: as many as the server manages in a third of a second."""

from __future__ import annotations

from fastprune.deletion.pace import FIRST_REQUEST, MOST_IN_REQUEST, REQUEST_SECONDS, RequestSizes


def test_the_first_request_is_small() -> None:
    assert RequestSizes().urls == FIRST_REQUEST


def test_the_number_doubles_at_most_and_has_an_end() -> None:
    sizes, seen = RequestSizes(), list[int]()
    for _ in range(7):
        sizes.took(sizes.urls, 0.0)
        seen.append(sizes.urls)
    assert seen == [40, 80, 160, 320, 500, 500, 500]
    assert seen[-1] == MOST_IN_REQUEST


def test_a_slow_server_gets_as_many_as_it_manages() -> None:
    sizes = RequestSizes()
    sizes.took(20, 4 * REQUEST_SECONDS)
    assert sizes.urls == 5
    sizes.took(5, REQUEST_SECONDS / 2)
    assert sizes.urls == 10


def test_at_least_one_url_is_named() -> None:
    sizes = RequestSizes()
    sizes.took(1, 1000.0)
    assert sizes.urls == 1
