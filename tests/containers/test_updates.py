"""Updates under load: nobody who calls notices more than that the answers change."""

from __future__ import annotations

import json
import time

import pytest

import away
from tests.load import Load, steady
from tests.places import Place

pytestmark = pytest.mark.slow

UPDATES = 4
CALLS_A_SECOND = 50


@pytest.fixture
def processes(own_environment):
    with away.gateway.run(announce=False) as faas:
        yield Place(faas, {})


def publish(place: Place, turn: int) -> None:
    @place.publish("steady", env={"TURN": str(turn)})
    def steadily():
        import os
        import time

        # So that calls are in flight whenever an update comes.
        time.sleep(0.1)
        return turn, int(os.environ["TURN"])


def update_under_load(place: Place) -> tuple[Load, list[tuple[float, float]]]:
    """Publish again and again while calls go on; give these, and when each publish began and ended."""
    publish(place, 0)
    times = []
    with steady(f"{place.faas.url}/function/{place.name('steady')}", CALLS_A_SECOND) as load:
        for turn in range(1, UPDATES + 1):
            time.sleep(0.5)
            begun = time.monotonic()
            publish(place, turn)
            times.append((begun, time.monotonic()))
        time.sleep(0.5)
    return load, times


def check(load: Load, times: list[tuple[float, float]]) -> None:
    assert load.lost == []
    assert [each for each in load.answers if each.status != 200] == []
    # Enough to be there at every moment of an update, however busy the machine is that calls.
    assert len(load.answers) > 10 * UPDATES
    seen = set()
    for each in load.answers:
        # One version whole: its code with its environment.
        turn, of_environment = json.loads(each.text)
        assert turn == of_environment
        # None older than what was published before the call, none newer than what was begun.
        assert sum(ended < each.begun for _, ended in times) <= turn
        assert turn <= sum(begun < each.answered for begun, _ in times)
        seen.add(turn)
    assert seen == set(range(UPDATES + 1))


def test_no_call_is_lost_when_containers_are_updated(place: Place):
    check(*update_under_load(place))


def test_no_call_is_lost_when_processes_are_updated(processes: Place):
    check(*update_under_load(processes))
