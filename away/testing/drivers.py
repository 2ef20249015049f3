"""The drivers that stand in for HTTP: conversations are pumped as always, and answered in process.

Each is the real one but for the two methods that reach a socket, so that what is tried again, how
often and until when is what it would be.
"""

from __future__ import annotations

import asyncio
import threading
import time
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, TypeVar

from away.connection.aio import AioDriver
from away.connection.conversations import ReadTimedOut, Reply, TransportError
from away.connection.sync import SyncDriver
from away.exceptions import FunctionNotFound
from away.testing.gateways import NotFaked

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from away.connection.conversations import Conversation, Deadline, Request, Send
    from away.connection.lanes import Lane
    from away.testing.functions import Invocation

    Answerer = Callable[[Request], Reply | Invocation]
    Explainer = Callable[[FunctionNotFound], None]

__all__ = ["FakeAioDriver", "FakeSyncDriver"]

T = TypeVar("T")


class FakeSyncDriver(SyncDriver):
    """Pumps conversations in the calling thread; what is sent is answered there.

    Args:
        answer: Answers a request, or says which function does.
        explain: Lets an error say what a test can do about it.
    """

    def __init__(self, answer: Answerer, explain: Explainer) -> None:
        self._answer = answer
        self._explain = explain

    def run(self, conversation: Conversation[T]) -> T:
        """Pump a conversation to its end and return what it returns."""
        try:
            return super().run(conversation)
        except FunctionNotFound as error:
            self._explain(error)
            raise

    def send(self, send: Send) -> Reply:
        """Answer one request."""
        found = self._answer(send.request)
        if isinstance(found, Reply):
            return found
        refused = found.refused()
        if refused is not None:
            return refused
        seconds, in_time = _latency(found, send.deadline)
        time.sleep(seconds)
        instead = _fault(found, in_time)
        if instead is not None:
            return instead
        try:
            value, items = _settled(found.start())
        except BaseException as error:  # the user's function runs here, and may raise anything
            return _answered(found, error)
        return found.succeeded(value, items=items)

    def stream(self, send: Send) -> Generator[Reply | bytes, None, None]:
        """Refuse: what has no end cannot be faked."""
        self._answer(send.request)
        raise _no_stream(send)
        yield b""

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def abandon(self) -> None:
        """Do nothing: nothing is open."""


class FakeAioDriver(AioDriver):
    """Pumps conversations on the running event loop; coroutine functions run there too.

    Args:
        answer: Answers a request, or says which function does.
        explain: Lets an error say what a test can do about it.
    """

    def __init__(self, answer: Answerer, explain: Explainer) -> None:
        self._answer = answer
        self._explain = explain

    async def run(self, conversation: Conversation[T], lane: Lane | None = None) -> T:
        """Pump a conversation to its end and return what it returns."""
        try:
            return await super().run(conversation, lane)
        except FunctionNotFound as error:
            self._explain(error)
            raise

    async def send(self, send: Send) -> Reply:
        """Answer one request."""
        found = self._answer(send.request)
        if isinstance(found, Reply):
            return found
        refused = found.refused()
        if refused is not None:
            return refused
        seconds, in_time = _latency(found, send.deadline)
        await asyncio.sleep(seconds)
        instead = _fault(found, in_time)
        if instead is not None:
            return instead
        try:
            value, items = await _settled_async(found.start())
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # the user's function runs here, and may raise anything
            return _answered(found, error)
        return found.succeeded(value, items=items)

    async def stream(self, send: Send) -> AsyncGenerator[Reply | bytes, None]:
        """Refuse: what has no end cannot be faked."""
        self._answer(send.request)
        raise _no_stream(send)
        yield b""

    def lane(self) -> None:
        """Return no connection for one worker alone: there are none."""

    async def aclose(self) -> None:
        """Do nothing: nothing is open."""

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def abandon(self) -> None:
        """Do nothing: nothing is open."""


def _latency(invocation: Invocation, deadline: Deadline) -> tuple[float, bool]:
    """Return how long to wait, and whether the answer then still is in time."""
    wanted, left = invocation.function.fault.latency, deadline.remaining()
    return min(wanted, left), wanted < left


def _fault(invocation: Invocation, in_time: bool) -> Reply | None:
    """Return what is answered without running the function; None where it is to run.

    Raises:
        TransportError: Nothing is answered.
    """
    if not in_time:
        raise ReadTimedOut
    failure = invocation.failure()
    if isinstance(failure, TransportError):
        raise failure
    if failure is None or isinstance(failure, Reply):
        return failure
    return invocation.failed(failure)


def _answered(invocation: Invocation, error: BaseException) -> Reply:
    # Ctrl-C, and what a nested call of the function's found not to be faked, is the test's own.
    if isinstance(error, (KeyboardInterrupt, NotFaked)):
        raise error
    return invocation.failed(error)


def _settled(value: Any) -> tuple[Any, bool]:
    """Bring a generator or a coroutine to its end, in a thread without a running event loop."""
    if type(value) is GeneratorType:
        return list(value), True
    if type(value) is not AsyncGeneratorType and not hasattr(type(value), "__await__"):
        return value, False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_settled_async(value))
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(asyncio.run(_settled_async(value)))
        except BaseException as error:  # handed over to the thread that waits
            found.append(error)

    thread = threading.Thread(target=run, name="away-fake")
    thread.start()
    thread.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    settled: tuple[Any, bool] = found[0]
    return settled


async def _settled_async(value: Any) -> tuple[Any, bool]:
    """Bring a generator or a coroutine to its end on the running event loop."""
    if type(value) is AsyncGeneratorType:
        return [each async for each in value], True
    if hasattr(type(value), "__await__"):
        value = await value
    if type(value) is GeneratorType:
        return list(value), True
    return value, False


def _no_stream(send: Send) -> NotFaked:
    path = send.request.path.partition("?")[0]
    return NotFaked(
        f"{path} is followed without an end, which is not faked; use the fixture away_gateway"
    )
