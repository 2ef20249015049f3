"""Conversations that somebody looks on at: each step and what came of it, as it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from away.connection.transport_errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from away.connection.messages import Conversation, Reply, Send, Wait

__all__ = ["watched"]

T = TypeVar("T")


def watched(
    conversation: Conversation[T],
    look: Callable[[Send | Wait, Reply | TransportError | None], None],
) -> Conversation[T]:
    """Have the same conversation while ``look`` is told of it.

    Args:
        conversation: What is to be said.
        look: Called after each step with the step and what came of it: the reply, or the error that
            the driver met, or None of a pause. What it raises ends the conversation.

    Returns:
        A conversation that returns and raises what the other does.
    """
    try:
        step = next(conversation)
        while True:
            try:
                reply = yield step
            except TransportError as error:
                look(step, error)
                step = conversation.throw(error)
            except Exception as error:  # a sink's own: it is the conversation's
                step = conversation.throw(error)
            else:
                look(step, reply)
                step = conversation.send(reply)
    except StopIteration as stop:
        value: T = stop.value
        return value
    finally:
        conversation.close()
