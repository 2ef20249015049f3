"""``away.Executor``: functions of the running program, each call of them at a gateway.

It is a :class:`concurrent.futures.Executor`, for programs and libraries that take one.
"""

from __future__ import annotations

import concurrent.futures
import functools
import itertools
import threading
import time
import warnings
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

import away.builder as builder
from away.async_functions import AsyncFunction
from away.connection import FaasConnection
from away.connection.workers import MOST_THREADS, Workers
from away.exceptions import ConfigError, UnsafeWarning
from away.executor.by_function import PublishedCallables, one_after_another
from away.executor.by_value import SentCallables
from away.executor.deployed import Deployed
from away.functions import RemoteFunction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Unpack

    from away.builder import PublishOptions
    from away.connection.conversations import Conversation

__all__ = ["Executor"]

T = TypeVar("T")

# A map has so many calls under way for each thread, so that none waits for the one who iterates.
_AHEAD = 4


class Executor(concurrent.futures.Executor):
    """Run callables at a gateway, as :mod:`concurrent.futures` runs them in threads or processes.

    A callable is published once, in the thread that makes the first call of it, with the values that it
    has at that moment. Functions with a name of their own are deployed under it and stay, as with
    ``builder.publish``. Lambdas, functions inside of functions, methods, partials and objects are
    deployed as ``exec-NAME-DIGEST``. A remote function is just called.

    With ``by_value=True`` nothing of the kind is published: one function, ``exec-run-pickled-DIGEST``,
    is sent each callable with its arguments as a pickle, and runs it. That is for libraries whose
    callables differ from call to call. **Whoever can reach that function can run any code in it**, and
    its answers can run code here, so that it takes ``safe_args=False`` as well.

    Args:
        faas: The gateway; ``default`` of the configuration if it is left out.
        max_workers: How many calls are under way at once.
        by_value: Whether callables travel with each call.
        remove: Whether ``shutdown`` removes the functions that this executor has brought to the
            gateway; those that were there before stay.
        **options: Those of :func:`away.builder.publish`, for each function that is published:
            ``safe_args=False`` for arguments and results that only a pickle carries, ``timeout=``,
            ``requirements=``, ``limits=`` and so on. ``name=`` only with ``by_value``.

    Raises:
        ConfigError: The options do not go together.
        TypeError: There is no such option.

    Example::

        with away.Executor(faas, remove=True) as executor:
            print(list(executor.map(lambda x: x * x, range(10))))
    """

    def __init__(
        self,
        faas: FaasConnection | None = None,
        max_workers: int | None = None,
        *,
        by_value: bool = False,
        remove: bool = False,
        **options: Unpack[PublishOptions],
    ) -> None:
        if faas is not None and not isinstance(faas, FaasConnection):
            kind = type(faas).__name__
            raise ConfigError(f"an Executor wants a FaasConnection, and was given a {kind}")
        if max_workers is not None and max_workers < 1:
            raise ValueError("max_workers must be greater than 0")
        given = dict(options)
        _check(given, by_value=by_value)
        given.setdefault(
            "verbose", False
        )  # threads that publish side by side would write over each other
        self.faas = faas or FaasConnection.named("default")
        # By this name libraries ask executors how much to give them at once.
        self._max_workers = max_workers or MOST_THREADS
        self._removes = remove
        self._lock = threading.Lock()  # guards _is_shut, and that nothing is submitted after it
        self._is_shut = False
        self._workers = Workers(self._max_workers)
        self._deployed = Deployed(self.faas, asks=remove)
        way = SentCallables if by_value else PublishedCallables
        self._way: SentCallables | PublishedCallables = way(self.faas, given, self._deployed)
        if given.get("safe_args", True) is False:
            text = builder.unsafe_text("this Executor publishes functions", self.faas)
            warnings.warn(text, UnsafeWarning, stacklevel=2)

    def __repr__(self) -> str:
        by_value = ", by_value=True" if isinstance(self._way, SentCallables) else ""
        return f"Executor({self.faas!r}, max_workers={self._max_workers}{by_value})"

    def submit(
        self, fn: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future[T]:
        """Call a callable at the gateway.

        Args:
            fn: What to call; a coroutine function gives its value.
            *args: Arguments.
            **kwargs: Keywords.

        Returns:
            A future of what it returns or raises. What keeps it from being published, it raises too.

        Raises:
            RuntimeError: The executor has been shut down.
            TypeError: There is nothing that can be called.
        """
        _check_callable(fn)
        return self._start(lambda: self._begin(fn, args, kwargs))

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Call a callable with the items of iterables, side by side; results come in order.

        Inputs are read as results are taken, some ahead of them, so that they may be endless.

        Args:
            fn: What to call.
            *iterables: One for each argument; the shortest ends it.
            timeout: Seconds from now until the last result has to be taken.
            chunksize: How many calls are made one after another; they travel in one request.
            buffersize: How many inputs are read ahead; four for each worker if it is left out.

        Returns:
            An iterator of results, which raises what a call raised when its turn comes, and
            :class:`TimeoutError`.

        Raises:
            ValueError: ``chunksize`` or ``buffersize`` is less than one.
            RuntimeError: The executor has been shut down.
            TypeError: There is nothing that can be called.
        """
        _check_callable(fn)
        if chunksize < 1 or (buffersize is not None and buffersize < 1):
            raise ValueError("chunksize and buffersize are 1 or more")
        end = None if timeout is None else time.monotonic() + timeout
        inputs = zip(*iterables, strict=False)
        ahead = buffersize or self._max_workers * _AHEAD * chunksize
        if chunksize == 1:
            begun = (self.submit(fn, *args) for args in inputs)
            return _in_order(begun, ahead, end)
        chunks = iter(lambda: list(itertools.islice(inputs, chunksize)), [])
        begun_chunks = (
            self._start(functools.partial(self._begin_chunk, fn, chunk)) for chunk in chunks
        )
        results = _in_order(begun_chunks, max(ahead // chunksize, 1), end)
        return itertools.chain.from_iterable(results)

    def shutdown(
        self, wait: bool = True, *, cancel_futures: bool = False, remove: bool | None = None
    ) -> None:
        """Take no more calls, and free what belongs to the executor.

        Args:
            wait: Whether to return only when all that was submitted is done. Otherwise functions
                are removed in the background, and the program's end waits for that.
            cancel_futures: Whether what has not begun is cancelled.
            remove: Whether to remove the functions that were brought to the gateway, once all is
                done; as the executor was told if it is left out.

        Raises:
            AwayError: A function could not be removed.
        """
        removes = self._removes if remove is None else remove
        self._shut(wait=wait, cancel=cancel_futures)
        if wait:
            self._workers.join()
        if removes and wait:
            self._deployed.remove()
        elif removes:
            threading.Thread(target=self._remove_when_done, name="away-remove").start()

    def _remove_when_done(self) -> None:
        self._workers.join()
        self._deployed.remove()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None and not issubclass(kind, Exception):
            # Ctrl-C: whoever presses it does not want to wait for what runs.
            self._shut(wait=True, cancel=True, cut=True)
        self.shutdown()

    def _shut(self, *, wait: bool, cancel: bool, cut: bool = False) -> None:
        with self._lock:
            self._is_shut = True
        self._workers.close(wait=wait, cancel=cancel, cut=cut)

    def _start(
        self, prepare: Callable[[], tuple[FaasConnection, Callable[[], Conversation[Any]]]]
    ) -> concurrent.futures.Future[Any]:
        self._refuse_if_shut()
        try:
            connection, begin = prepare()
        except Exception as error:  # what keeps a call from being made is the future's to say
            failed: concurrent.futures.Future[Any] = concurrent.futures.Future()
            failed.set_exception(error)
            return failed
        with self._lock:
            self._refuse_if_shut()
            return self._workers.submit(connection, begin)

    def _refuse_if_shut(self) -> None:
        if self._is_shut:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def _begin(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[FaasConnection, Callable[[], Conversation[Any]]]:
        remote, bound, keywords = _remote_in(fn)
        if remote is None:
            return self.faas, self._way.begin(fn, args, kwargs)
        given = {**keywords, **kwargs}
        return remote.connection, lambda: remote.blocking_conversation((*bound, *args), given)

    def _begin_chunk(
        self, fn: Callable[..., Any], chunk: list[tuple[Any, ...]]
    ) -> tuple[FaasConnection, Callable[[], Conversation[list[Any]]]]:
        remote, bound, keywords = _remote_in(fn)
        if remote is None:
            return self.faas, self._way.begin_chunk(fn, chunk)

        calls = [((*bound, *args), keywords) for args in chunk]
        return remote.connection, lambda: one_after_another(remote, calls)


def _check_callable(fn: object) -> None:
    if not callable(fn):
        raise TypeError(f"an Executor calls functions, and was given a {type(fn).__name__}")


# Options of the functions' proxies; the others are those of a publish.
_OF_PROXIES = frozenset({"verbose", "implicit_exception_handling", "idempotent"})


def _check(options: dict[str, Any], *, by_value: bool) -> None:
    from away.publish.keywords import check_keywords

    check_keywords({key: value for key, value in options.items() if key not in _OF_PROXIES})
    if by_value and options.get("safe_args", True) is not False:
        raise ConfigError(
            "by_value=True has one function run whatever it is sent, so that whoever can reach it can"
            " run any code; say safe_args=False as well if that is what you want"
        )
    if not by_value and options.get("name") is not None:
        raise ConfigError(
            "name= is for one function, and an Executor publishes one for each callable; leave it out"
        )


def _remote_in(fn: Any) -> tuple[RemoteFunction[..., Any] | None, tuple[Any, ...], dict[str, Any]]:
    """Return the remote function that a callable is, or binds arguments of, and these arguments."""
    bound: tuple[Any, ...] = ()
    keywords: dict[str, Any] = {}
    if isinstance(fn, functools.partial):
        fn, bound, keywords = fn.func, fn.args, fn.keywords
    if isinstance(fn, AsyncFunction):
        fn = fn.function
    return (fn if isinstance(fn, RemoteFunction) else None), bound, keywords


def _in_order(
    begun: Iterator[concurrent.futures.Future[T]], ahead: int, end: float | None
) -> Iterator[T]:
    """Give results in the order of the calls, and keep so many calls under way ahead of them."""
    # Those that can be are begun now, and not when the first result is asked for.
    waiting = deque(itertools.islice(begun, ahead))

    def results() -> Iterator[T]:
        try:
            while waiting:
                left = None if end is None else end - time.monotonic()
                future = waiting.popleft()
                try:
                    yield future.result(left)
                finally:
                    future.cancel()
                waiting.extend(itertools.islice(begun, 1))
        finally:
            for future in waiting:
                future.cancel()

    return results()
