"""Several publishes side by side: a few at once, each on its own, none stopped by another's failure.

What two of them need is made and uploaded once (:mod:`away.publish.gates`). A function that calls
another one of them is deployed after it. This module knows neither decorators nor what a publish does:
it is given how each is captured and how it goes on.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from away.publish.progress import interruption
from away.publish.screen import Screen, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TextIO

    from away.capture import Captured
    from away.connection import FaasConnection
    from away.connection.conversations import Conversation
    from away.publish.progress import Progress
    from away.publish.steps import Published

__all__ = ["Interrupted", "Outcome", "Ready", "Task", "run_all"]

T = TypeVar("T")

# How long those that are under way may take to end once the user has had enough.
GRACE_SECONDS = 3.0
TICK_SECONDS = 0.1


class Ready(NamedTuple):
    """A function that was captured for its publish.

    Attributes:
        captured: The function.
        namespace: The namespace that it goes to.
        conversation: Begins the publish.
    """

    captured: Captured
    namespace: str
    conversation: Callable[[], Conversation[Published]]


class Task(NamedTuple):
    """One of the publishes.

    Attributes:
        name: What to call the function while its name is not decided on yet.
        connection: The gateway.
        capture: Captures the function.
    """

    name: str
    connection: FaasConnection
    capture: Callable[[Progress], Ready]


class Outcome(NamedTuple):
    """What came of one of the publishes.

    Attributes:
        name: The function.
        published: What was published; None where that failed.
        error: What it failed by; None where it did not.
    """

    name: str
    published: Published | None = None
    error: Exception | None = None


class Interrupted(KeyboardInterrupt):
    """Publishing was interrupted; the text says what was changed and what was not.

    Attributes:
        outcomes: What came of those that were over.
    """

    def __init__(self, text: str = "", outcomes: Sequence[Outcome] = ()) -> None:
        super().__init__(text)
        self.outcomes = tuple(outcomes)


class Work:
    """One of the publishes while it goes on."""

    def __init__(self, task: Task, row: shown) -> None:
        self.task = task
        self.row = row
        self.name = task.name
        self.ready: Ready | None = None
        self.after: list[Work] = []
        self.begun = False
        self.done = threading.Event()
        self.outcome: Outcome | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """How another function names this one when it calls it."""
        assert self.ready is not None
        return self.task.connection.url, self.ready.namespace, self.name

    def finish(self, *, published: Published | None = None, error: Exception | None = None) -> None:
        """Note what came of it."""
        self.outcome = Outcome(self.name, published, error)


def run_all(
    tasks: Sequence[Task],
    *,
    jobs: int,
    verbose: bool,
    say: Callable[[Published, FaasConnection], str],
    stream: TextIO | None = None,
) -> list[Outcome]:
    """Publish several functions.

    Args:
        tasks: What to publish.
        jobs: How many at once.
        verbose: False for silence.
        say: Puts what came of one into words.
        stream: Where to show what goes on; standard error if it is left out.

    Returns:
        What came of each, in the order of the tasks.

    Raises:
        Interrupted: The user had enough; what is under way was ended where that changes nothing.
    """
    import sys

    stopping = threading.Event()
    target = stream or sys.stderr
    screen = Screen(target, plural=True) if len(tasks) > 1 else None

    def check() -> None:
        if stopping.is_set():
            raise Interrupted

    works = [
        Work(
            each,
            shown(
                each.name,
                each.connection.url,
                verbose=verbose,
                stream=target,
                screen=screen,
                check=check,
            ),
        )
        for each in tasks
    ]
    try:
        with ExitStack() as rows:
            for each in works:
                rows.enter_context(each.row)
            if screen is not None and screen.terminal and verbose:
                # A pipe has it in the lines of each.
                screen.write(heading(tasks))
            try:
                capture_all(works)
                publish_all(works, jobs, stopping, say)
            except KeyboardInterrupt:
                stopping.set()
                wait_for(works)
    finally:
        if screen is not None:
            screen.close()
    outcomes = [each.outcome for each in works if each.outcome is not None]
    if stopping.is_set():
        raise Interrupted(interrupted(works), outcomes)
    return outcomes


def heading(tasks: Sequence[Task]) -> str:
    """Say what is published where."""
    places = dict.fromkeys(each.connection.url for each in tasks)
    return f"publishing {len(tasks)} functions on {', '.join(places)}"


def capture_all(works: Iterable[Work]) -> None:
    """Capture all functions, so that it is known which of them calls which."""
    for each in works:
        try:
            each.ready = each.task.capture(each.row.progress)
            each.name = each.row.name = each.ready.captured.name
        except Exception as error:  # the user's own objects are looked at here
            each.row.failed(error)
            each.finish(error=error)
            each.done.set()


def in_order(works: Sequence[Work]) -> list[Work]:
    """Return those to publish, each behind those that it calls; else in the order given.

    Functions that call each other in a ring come in the order given: all of them work once the last
    one is there.
    """
    by_key = {each.key: each for each in works if each.ready is not None}
    ordered: list[Work] = []
    open_now: list[Work] = []

    def visit(work: Work) -> None:
        if work in ordered or work in open_now:
            return
        open_now.append(work)
        assert work.ready is not None
        for called in work.ready.captured.references:
            other = by_key.get((called.url, called.namespace, called.name))
            if other is not None and other is not work:
                visit(other)
                if other in ordered:
                    work.after.append(other)
        open_now.remove(work)
        ordered.append(work)

    for each in by_key.values():
        visit(each)
    return ordered


def publish_all(
    works: Sequence[Work],
    jobs: int,
    stopping: threading.Event,
    say: Callable[[Published, FaasConnection], str],
) -> None:
    """Publish what was captured, some at once, and wait for all of them."""
    waiting = in_order(works)
    waiting.reverse()
    lock = threading.Lock()  # guards waiting

    def worker() -> None:
        while True:
            with lock:
                if not waiting or stopping.is_set():
                    return
                work = waiting.pop()
            publish_one(work, stopping, say)

    # Not to be waited for at the end of the process: what hangs must not keep it.
    threads = [
        threading.Thread(target=worker, name="away publish", daemon=True)
        for _ in range(min(jobs, len(waiting)))
    ]
    for each in threads:
        each.start()
    for each in threads:
        while each.is_alive():
            # With a limit, since a wait without one cannot be interrupted on every system.
            each.join(TICK_SECONDS)


def publish_one(
    work: Work,
    stopping: threading.Event,
    say: Callable[[Published, FaasConnection], str],
) -> None:
    """Publish one function, once those that it calls are there or have failed."""
    assert work.ready is not None
    connection = work.task.connection
    work.begun = True
    try:
        for other in work.after:
            while not other.done.wait(TICK_SECONDS):
                if stopping.is_set():
                    raise Interrupted
        published = connection.run(stoppable(work.ready.conversation(), stopping))
    except Interrupted:
        work.row.ended_as = "interrupted"
    except Exception as error:  # of whatever kind, it is this one's alone
        if stopping.is_set():
            work.row.ended_as = "interrupted"
        else:
            work.row.failed(error)
            work.finish(error=error)
    else:
        short = "unchanged"
        if published.action != "unchanged":
            seconds = sum(step.seconds for step in published.steps)
            short = f"{published.action} in {seconds:.2f} s"
        work.row.verdict(say(published, connection), short=short)
        work.finish(published=published)
    finally:
        work.done.set()


def stoppable(conversation: Conversation[T], stopping: threading.Event) -> Conversation[T]:
    """Let a conversation end before its next request once it is to stop."""
    try:
        step = next(conversation)
        while True:
            if stopping.is_set():
                raise Interrupted
            try:
                reply = yield step
            except Exception as error:  # what the driver met is the conversation's to judge
                step = conversation.throw(error)
            else:
                step = conversation.send(reply)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        conversation.close()


def wait_for(works: Iterable[Work]) -> None:
    """Give those under way a moment to end, so that what is said of them holds."""
    until = time.monotonic() + GRACE_SECONDS
    for each in works:
        if each.begun:
            each.done.wait(max(0.0, until - time.monotonic()))
        if each.outcome is None:
            each.row.ended_as = "interrupted"


def interrupted(works: Iterable[Work]) -> str:
    """Say in a line what was changed and what was not."""
    said = []
    untouched = []
    for each in works:
        outcome = each.outcome
        if outcome is not None and outcome.published is not None:
            said.append(f"{outcome.name} is {outcome.published.action}")
        elif outcome is not None:
            said.append(f"{outcome.name} failed")
        elif each.row.progress.current in ("push", "checks", "deploy", "ready"):
            said.append(interruption(each.row.progress.current, each.name))
        else:
            untouched.append(each.name)
    if untouched:
        were = "was" if len(untouched) == 1 else "were"
        said.append(f"{', '.join(untouched)} {were} not deployed")
    return f"interrupted: {'; '.join(said)}; the same command goes on from here"
