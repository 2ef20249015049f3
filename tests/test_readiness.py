"""What a row of answers says of whether a function ever comes to life."""

from __future__ import annotations

import pytest

from away.connection.conversations import Reply
from away.publish.readiness import SILENT_SECONDS, Life, Look

MINE, OTHER = "a" * 32, "b" * 32
NOBODY = Reply(500, {"X-Openfaas-Internal": "proxy"}, b"Can't reach service for: x.")


def loading(deployment: str) -> Reply:
    return Reply(503, {"X-Away-Protocol": "1", "X-Away-Deployment": deployment})


def lived(answers: list[tuple[float, Reply]]) -> list[str]:
    """Give what is said after each answer, which takes no time."""
    life = Life(MINE)
    return [life.hopeless(Look(each, at, each is NOBODY), at) for at, each in answers]


def test_silence_counts_from_its_first_question_on():
    life = Life(MINE)
    assert life.hopeless(Look(NOBODY, 0.0, True), 2.5) == ""
    assert "nobody listened" in life.hopeless(
        Look(NOBODY, SILENT_SECONDS - 1, True), SILENT_SECONDS
    )


@pytest.mark.parametrize("answer", [loading(MINE), loading(OTHER), Reply(404), Reply(0)])
def test_any_other_answer_ends_a_silence(answer):
    end = SILENT_SECONDS
    said = lived([(0.0, NOBODY), (end - 1, answer), (end, NOBODY), (2 * end - 0.1, NOBODY)])
    assert not any(said)
    assert any(lived([(0.0, NOBODY), (end - 1, NOBODY), (end, NOBODY)]))


def test_what_ends_while_it_is_loaded_is_given_up_the_third_time():
    turn = [loading(MINE), NOBODY, NOBODY]
    said = lived([(float(at), each) for at, each in enumerate(turn * 3)])
    assert not any(said[:-2])
    assert "3 times while it was being loaded" in said[-2]


def test_that_the_one_before_ends_says_nothing_of_the_new_one():
    turn = [loading(OTHER), NOBODY]
    assert not any(lived([(float(at), each) for at, each in enumerate(turn * 4)]))
