"""The calls of one batch, run within its time: one after another, or side by side on the event loop.

Each call is as if it had come alone: a context of its own, a call id of its own in the log, an
envelope of its own in the answer. What began runs to its end; what had no time to begin, or no room
in the answer, is left out, and whoever sent it sends it again.
"""

from __future__ import annotations

import time
from contextvars import Context
from typing import TYPE_CHECKING, Any

import away.protocol as protocol
from away.exceptions import ProtocolMismatch
from away.protocol.values import scalar_text
from away.runtime import output
from away.runtime.running import Result, run, run_on_loop, traceback_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from away.protocol.batches import Batch
    from away.runtime.event_loop import EventLoop

__all__ = ["BatchRun", "is_async"]

# An answer this large goes out, and the rest of the batch is asked for again: both sides and the
# gateway hold it whole. A single result may be larger, as that of a single call may.
MAX_ANSWER_BYTES = 4 * 1024 * 1024
# How often a batch looks whether its client is still there: a look is a system call, and calls of
# some microseconds shall not each pay for one.
_LOOK_SECONDS = 0.01
# inspect's flags of code objects, without inspect: coroutine functions, asynchronous generators.
_ASYNC_FLAGS = 0x80 | 0x200


def is_async(function: Callable[..., Any]) -> bool:
    """Tell whether calls of a function run side by side on an event loop."""
    code = getattr(function, "__code__", None)
    return bool(getattr(code, "co_flags", 0) & _ASYNC_FLAGS)


class BatchRun:
    """One batch under way.

    Args:
        batch: Its calls.
        function: What they call.
        call_id: The batch's own id; each call's is that and its place.
        safe: Whether the function was published safe, so that no pickle is read.
        pack: Makes a call's envelope of its result; told whether the call came without a pickle.
        loop: Where coroutines run.
        ended: Called after each call; does not return in a child that came back from a fork.
        awaited: Tells whether the client is still there; once it is not, no further call begins.
    """

    def __init__(
        self,
        batch: Batch,
        function: Callable[..., Any],
        call_id: str,
        *,
        safe: bool,
        pack: Callable[[Result, bool], bytes],
        loop: EventLoop,
        ended: Callable[[], None],
        awaited: Callable[[], bool],
    ) -> None:
        self._batch = batch
        self._function = function
        self._call_id = call_id
        self._safe = safe
        self._pack = pack
        self._loop = loop
        self._ended = ended
        self._awaited = awaited
        self._bytes = 0
        self._until = 0.0
        # when to look next whether another call may begin
        self._look = 0.0

    def run(self) -> tuple[list[bytes], float]:
        """Run the calls; return the envelopes of those that ran, and the seconds that they took."""
        began = time.monotonic()
        self._until = began + self._batch.budget
        self._look = min(self._until, began + _LOOK_SECONDS)
        if self._batch.at_once > 1 and is_async(self._function):
            envelopes = self._loop.run(self._side_by_side, Context())
        else:
            envelopes = self._in_turn()
        return envelopes, time.monotonic() - began

    def _in_turn(self) -> list[bytes]:
        envelopes: list[bytes] = []
        function, loop, call_id = self._function, self._loop, self._call_id
        set_call, now = output.current_call.set, time.monotonic
        # As one call alone is run, written out: trivial functions are called a million times so.
        for index, sent in enumerate(self._batch.calls):
            # The first one runs in any case: a batch that gets nowhere would be sent for ever.
            full = self._bytes >= MAX_ANSWER_BYTES
            if index and (full or now() >= self._look) and self._is_over():
                break
            if type(sent) is list:
                args, kwargs = sent
                safe = True
            else:
                call = self._read(sent)
                if isinstance(call, Result):
                    envelopes.append(self._pack(call, True))
                    continue
                args, kwargs, safe = call
            noted = output.CallOutput(f"{call_id}:{index}")
            context = Context()
            context.run(set_call, noted)
            result = run(function, args, kwargs, context, loop)
            envelopes.append(self._end(result, noted, safe=safe))
        return envelopes

    async def _side_by_side(self) -> list[bytes]:
        import asyncio

        # Shared by the lanes, so that those that ran are the first ones, without a gap.
        left = enumerate(self._batch.calls)
        envelopes: list[bytes] = [b""] * len(self._batch.calls)
        lanes = min(self._batch.at_once, len(envelopes))
        counts = await asyncio.gather(*(self._lane(left, envelopes) for _ in range(lanes)))
        return envelopes[: sum(counts)]

    async def _lane(self, left: Iterator[tuple[int, Any]], envelopes: list[bytes]) -> int:
        """Run one call after another until none is left; return how many."""
        import asyncio

        loop, count = asyncio.get_running_loop(), 0
        for index, sent in left:
            call = self._read(sent)
            if isinstance(call, Result):
                envelopes[index] = self._pack(call, True)
            else:
                noted, context = self._begin(index)
                work = run_on_loop(self._function, call.args, call.kwargs)
                result = await loop.create_task(work, context=context)
                envelopes[index] = self._end(result, noted, safe=call.safe)
            count += 1
            full = self._bytes >= MAX_ANSWER_BYTES
            if (full or time.monotonic() >= self._look) and self._is_over():
                break
        return count

    def _is_over(self) -> bool:
        """Tell whether no further call may begin: for lack of time or room, or of a client."""
        now = time.monotonic()
        if now >= self._until or self._bytes >= MAX_ANSWER_BYTES or not self._awaited():
            return True
        self._look = min(self._until, now + _LOOK_SECONDS)
        return False

    def _read(self, sent: Any) -> protocol.Call | Result:
        """Return one call's arguments, or the result that says why they cannot be read."""
        if type(sent) is list:
            return protocol.Call(tuple(sent[0]), sent[1], True)
        try:
            return protocol.call_of(sent, allow_unsafe=not self._safe)
        except RecursionError:
            error: BaseException = ProtocolMismatch("the call's pickle is nested too deeply")
        except BaseException as caught:  # an unsafe call runs code of its sender
            error = caught.with_traceback(None)
        return Result(error=error, refused=True)

    def _begin(self, index: int) -> tuple[output.CallOutput, Context]:
        noted = output.CallOutput(f"{self._call_id}:{index}")
        context = Context()
        context.run(output.current_call.set, noted)
        return noted, context

    def _end(self, result: Result, noted: output.CallOutput, *, safe: bool) -> bytes:
        self._ended()
        if noted.started:
            output.finish(noted)
        error = result.error
        if error is None and safe and not result.items and (text := scalar_text(result.value)):
            envelope = f'{{"value": {text}}}'.encode()
        else:
            if error is not None and not result.refused:
                output.log(traceback_text(error), noted)
            envelope = self._pack(result, safe)
        self._bytes += len(envelope)
        return envelope
