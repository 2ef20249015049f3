"""What ``f.__call__`` of a remote function is: a callable with the function's signature.

:mod:`unittest.mock` takes the signature of a callable object from there, to refuse wrong arguments in
place of the function. The class's own ``__call__`` takes any arguments and would let all pass.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable

__all__ = ["CallFace"]


class CallFace:
    """Call self as a function."""

    # It calls a function, and shows its signature. These words are Python's own for what the `__call__`
    # of any function is, which IPython knows to say nothing.

    __slots__ = ("__weakref__", "_function")

    def __init__(self, function: Callable[..., Any]) -> None:
        """Take the function; it is not called and not looked at before it must be."""
        self._function = function

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<the call of {self._function!r}>"

    @property
    def __signature__(self) -> inspect.Signature:
        import inspect

        found = inspect.signature(self._function)
        shown: inspect.Signature = _signature_class()(
            list(found.parameters.values()), return_annotation=found.return_annotation
        )
        return shown


@functools.cache
def _signature_class() -> type[inspect.Signature]:
    """Make the class of such signatures once inspect, which is slow to import, is there anyway."""
    import inspect

    class CallSignature(inspect.Signature):
        """A signature that loses nothing to ``functools.partial(f.__call__, None)``.

        mock drops a ``self`` so that is not there, from the signature of every callable object in a
        module that it is to stand for (3.11 to 3.13), and then refuses the right arguments.
        """

        __slots__ = ()

        def bind_partial(self, /, *args: Any, **kwargs: Any) -> inspect.BoundArguments:
            if args == (None,) and not kwargs:
                args = ()
            return super().bind_partial(*args, **kwargs)

    return CallSignature
