"""Calls: how one call of a function is spoken, from bound arguments to a value or an exception.

A function that Away published is spoken to by protocol, another one plainly, and which of the two it
is shows at the first call: a plain request tells Away's runtime to ask for the protocol before
anything runs. What is sent and read here goes through the connection as one conversation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from weakref import WeakSet

import away.names as names
import away.protocol as protocol
import away.signatures as signatures
from away.exceptions import (
    AnswerLost,
    AwayError,
    CannotTravel,
    ConfigError,
    FunctionNotFound,
    ProtocolMismatch,
    ResultMismatch,
)
from away.protocol import plain
from away.protocol.refusals import by_another_way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from away.connection import FaasConnection
    from away.connection.conversations import Conversation, Deadline, Reply
    from away.decorated import StubAnnotations
    from away.typed_values import Misfit

__all__ = ["Caller", "Dialect", "Manner"]


class Dialect:
    """How a function is spoken to."""

    AUTO = "auto"  # plain first; by protocol once the function asked for it
    LIST = "list"  # the positional list that the project of 2023 reads; protocol if asked for
    PACKED = "packed"  # the user's own pack and unpack
    PROTOCOL = "protocol"  # a function that Away published


# Beyond what the function may take: the way there and back, and a start from nothing.
TIMEOUT_MARGIN = 5.0


class Manner(NamedTuple):
    """How calls of a function are made; :class:`away.functions.RemoteFunction` says what each means."""

    dialect: str = Dialect.AUTO
    pack: Callable[[Iterable[Any]], str] | None = None
    unpack: Callable[[str], Any] | None = None
    safe_args: bool = True
    implicit: bool = True
    timeout: float | None = None
    idempotent: bool = False
    headers: Mapping[str, str] = {}


class Watch(Protocol):
    """Sees whether what a list once said of a function still holds (:mod:`away.hooks.watches`)."""

    in_doubt: bool
    """Whether arguments that do not fit are judged only after the gateway was asked anew."""

    def take(self, caller: Caller) -> None:
        """Watch over the same function's calls by another caller."""

    def may_be_old(self) -> bool:
        """Tell whether arguments that do not fit are worth a look at what the function is now."""

    def settled(
        self, caller: Caller, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Conversation[Any]:
        """Have a call whose arguments may not fit what is known."""

    def differs(self, reply: Reply) -> bool:
        """Tell whether something else answered than was listed."""

    def renewed(self, caller: Caller, deadline: Deadline) -> Conversation[None]:
        """Ask anew what the function is, where that can be had."""

    def gone(self, error: FunctionNotFound) -> None:
        """Take note that the gateway has the function no more, and let the error say since when."""


# All that there are: what their calls learn from a test's fake is not to outlive it.
alive: WeakSet[Caller] = WeakSet()


class Caller:
    """Calls one function, and remembers what its answers taught: its spelling and its language.

    Args:
        connection: The gateway's connection.
        name: The function's name, in the gateway's spelling or in Python's.
        namespace: The OpenFaaS namespace, or an empty string.
        python_name: What errors call the function.
        manner: How its calls are made.
        learnt: Told of each description that is taken on.
        path: Where the function lies below its URL: its name in a module published whole.
        types: What a stub's annotations say of arguments and results.

    Raises:
        NameRefused: The name is one that no gateway could call.
    """

    def __init__(
        self,
        connection: FaasConnection,
        name: str,
        namespace: str,
        python_name: str,
        manner: Manner,
        *,
        learnt: Callable[[signatures.Description | None], None],
        path: str = "",
        types: StubAnnotations | None = None,
    ) -> None:
        self.connection = connection
        self.namespace = namespace
        self.path = path
        self.types = types
        self.python_name = python_name
        self.manner = manner
        self._learnt = learnt
        self.spellings = [names.check_callable_name(each) for each in names.candidates(name)]
        # Whether the function asked for the protocol; a published one is known to speak it.
        self.speaks_protocol = manner.dialect == Dialect.PROTOCOL
        # Whether its runtime takes many calls in one request; one that does not says so.
        self.batches = True
        self.description: signatures.Description | None = None
        self.bind: Callable[..., Any] | None = None
        # Sees whether the description still holds, where it is of a list that is fetched again.
        self.watch: Watch | None = None
        alive.add(self)

    @property
    def name(self) -> str:
        """The name under which the gateway is asked for the function."""
        return self.spellings[0]

    @property
    def shown_name(self) -> str:
        """What errors say of where it is: ``mymodule.f`` for a function of a module."""
        return f"{self.name}.{self.path}" if self.path else self.name

    def remembered(self) -> Callable[[], None]:
        """Remember what is known now; what is returned puts it back, after a test's fake."""
        before = dict(vars(self))

        def put_back() -> None:
            taught = self.description is not before["description"]
            vars(self).update(before)
            if taught:
                self._learnt(self.description)

        return put_back

    def learn(self, description: signatures.Description | None) -> None:
        """Take on what is known of the function's signature; calls are bound by it from then on."""
        self.description = description
        parameters = description.parameters if description else None
        self.bind = None if parameters is None else signatures.binder(self.python_name, parameters)
        if self.manner.dialect == Dialect.PACKED:
            self._check_packable()
        self._learnt(description)

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Conversation[Any]:
        """Return the whole conversation of one call; its time begins with its first step."""
        if self.types is not None:
            args, kwargs = self.prepared(args, kwargs)
        if self.watch is not None and self.watch.in_doubt:
            return self.watch.settled(self, args, kwargs)
        return self.undoubted(args, kwargs)

    def prepared(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Check bound arguments by a stub's annotations, and return the plain values that travel.

        Raises:
            TypeError: One is of another type than the stub says.
        """
        if self.types is None:
            return args, kwargs
        if self.manner.dialect == Dialect.LIST and not self.speaks_protocol and self.bind:
            args, kwargs = self.bind(*args, **kwargs)  # its defaults travel too
        plain_args = self.types.prepare(args, kwargs)
        # The user's own packers are given what the user gave.
        return (args, kwargs) if self.manner.dialect == Dialect.PACKED else plain_args

    def fitting(self, value: Any, reply: Reply) -> Any:
        """Make of a function's value what the stub's annotation says."""
        if self.types is None:
            return value
        return self.types.result(value, lambda misfit: self._unexpected(misfit, reply))

    def _unexpected(self, misfit: Misfit, reply: Reply) -> ProtocolMismatch:
        from away.typed_values import misfit_text

        error = self.broken(
            f"answered {names.printable(misfit_text(misfit))}; correct the annotation",
            reply,
            ResultMismatch,
        )
        error.__dict__.update(
            path="".join(misfit.path), expected=misfit.expected, given=misfit.given
        )
        return error

    def undoubted(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Conversation[Any]:
        """Return the conversation of a call whose arguments are known to fit."""
        if self.manner.implicit:
            return self._dialogue(args, kwargs)
        return self._stating_status(args, kwargs)

    def _stating_status(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Conversation[Any]:
        try:
            return (yield from self._dialogue(args, kwargs))
        except FunctionNotFound as error:
            # The gateway's own, since the function's exceptions do not raise here.
            return str(error), error.status or 404

    def timeout(self) -> float | None:
        """Return the seconds for a call: the caller's word, else what the function was published with."""
        stated = self.description.timeout if self.description else None
        if self.manner.timeout is not None or stated is None:
            return self.manner.timeout
        return stated + TIMEOUT_MARGIN

    def _dialogue(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Conversation[Any]:
        """Speak plainly first, and by protocol once it is known to be spoken."""
        deadline = self.connection.deadline(self.timeout())
        if self.manner.dialect == Dialect.PACKED:
            return (yield from self._call_packed(args, kwargs, deadline))
        if not self.speaks_protocol:
            request = self._plain_request(args, kwargs)
            if request is None:
                yield from self._ask_whether_published(args, kwargs, deadline)
            else:
                reply = yield from self.send(*request, deadline)
                if not _asks_for_protocol(reply):
                    return self._read_plain(reply)
            self.speaks_protocol = True
        return (yield from self._call_by_protocol(args, kwargs, deadline))

    def send(self, body: bytes, headers: dict[str, str], deadline: Deadline) -> Conversation[Reply]:
        """Send one request under the spelling of the name that the gateway knows.

        Where the gateway does not know the function nothing ran, so asking for ``my-fn`` after
        ``my_fn`` repeats nothing; the spelling that was found is the only one from then on.
        """
        if self.manner.headers:
            headers = {**self.manner.headers, **headers}
        missing: FunctionNotFound | None = None
        for spelling in self.spellings:
            try:
                reply = yield from self.connection.conversation_invoke(
                    spelling,
                    body,
                    headers=headers,
                    path=self.path,
                    namespace=self.namespace,
                    deadline=deadline,
                    idempotent=self.manner.idempotent,
                )
            except FunctionNotFound as error:
                missing = missing or error
            else:
                if len(self.spellings) > 1:
                    self.spellings = [spelling]
                if self.watch is not None and self.watch.differs(reply):
                    yield from self.watch.renewed(self, deadline)
                return reply
        assert missing is not None, "a function has one spelling at least"
        if self.watch is not None:
            self.watch.gone(missing)
        raise missing

    # ------------------------------------------------------------ the user's own packers

    def _check_packable(self) -> None:
        parameters = (self.description and self.description.parameters) or ()
        refused = [each.name for each in parameters if each.kind >= signatures.KEYWORD_ONLY]
        if refused:
            raise ConfigError(
                f"`{self.python_name}` has the parameter {refused[0]!r}, which pack_args cannot be"
                " given: it gets the positional arguments; make it an ordinary parameter or leave"
                " pack_args out",
                function=self.name,
            )

    def _positional(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...] | None:
        """Return the arguments as a list of positions, or None where some have none."""
        if self.bind is not None:
            args, kwargs = self.bind(*args, **kwargs)
        return None if kwargs else args

    def _call_packed(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], deadline: Deadline
    ) -> Conversation[Any]:
        assert self.manner.pack is not None, "this dialect is chosen by a pack"
        positional = self._positional(args, kwargs)
        if positional is None:
            raise CannotTravel(
                f"`{self.python_name}` was called with the keyword {next(iter(kwargs))!r}, which"
                " pack_args cannot be given: it gets the positional arguments",
                function=self.name,
            )
        text = self.manner.pack(positional)
        if not isinstance(text, str):
            raise CannotTravel(
                f"pack_args of `{self.python_name}` gave a {type(text).__name__} and must give a str",
                function=self.name,
            )
        reply = yield from self.send(text.encode(), {}, deadline)
        return self._verdict(reply, self._unpacked)

    def _unpacked(self, reply: Reply) -> Any:
        text = _utf8(reply, self)
        return (
            self._returned(reply, text) if self.manner.unpack is None else self.manner.unpack(text)
        )

    # ------------------------------------------------------------ plain forms

    def _plain_request(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[bytes, dict[str, str]] | None:
        """Return body and headers of the call's plain form, or None where it has none."""
        if self.manner.dialect == Dialect.LIST:
            positional = self._positional(args, kwargs)
            if positional is None:
                return None
            text = protocol.make_client_pack_args_fn(safe_args=self.manner.safe_args)(positional)
            return text.encode(), {protocol.STUB_HEADER: "list"}
        headers = {protocol.STUB_HEADER: "plain"}
        if kwargs or len(args) > 1:
            return None
        if not args:
            return b"", headers
        form = plain.plain_form(args[0])
        if form is None and self.types is not None:
            form = plain.plain_form(self.types.as_json(args[0]))
        if form is None:
            return None
        headers["Content-Type"] = form[1]
        return form[0], headers

    def _ask_whether_published(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], deadline: Deadline
    ) -> Conversation[None]:
        """Find out whether Away published the function, for a call that has no plain form."""
        description = None
        if self.connection.is_logged_in:
            info = yield from self.connection.conversation_function_or_absent(
                self.name, deadline, namespace=self.namespace
            )
            if info.name in self.spellings:
                self.spellings = [info.name]
            description = info.description
        if description is None:
            raise CannotTravel(self._no_plain_form(args, kwargs), function=self.name)
        if self.description is None:
            self.learn(description)
            if self.bind is not None:
                self.bind(*args, **kwargs)

    def _no_plain_form(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        what = f"a {type(args[0]).__name__}" if len(args) == 1 and not kwargs else ""
        what = what or f"{len(args) + len(kwargs)} arguments"
        plainly = "has no plain form" if len(args) + len(kwargs) == 1 else "have no plain form"
        if kwargs and len(args) + len(kwargs) == 1:
            what = f"the keyword {next(iter(kwargs))!r}"
        elif args and len(args) == 1 and not kwargs:
            plainly += plain.obstacle(args[0])
        why = "" if self.connection.is_logged_in else " (no password is known to ask the gateway)"
        return (
            f"`{self.python_name}` on {self.connection.url} was given {what}, which {plainly},"
            f" and is not known to be a function that Away published{why}; pass pack_args= and"
            " unpack_args= to say how the arguments travel"
        )

    def _read_plain(self, reply: Reply) -> Any:
        if self.manner.dialect == Dialect.LIST:
            unpack = protocol.make_client_unpack_args_fn(safe_args=self.manner.safe_args)
            return self._verdict(
                reply, lambda answered: self.fitting(unpack(_utf8(answered, self)), reply)
            )
        return self._verdict(reply, lambda answered: self._returned(answered, None))

    def _verdict(self, reply: Reply, read: Callable[[Reply], Any]) -> Any:
        """Give the value of a 2xx answer and raise for another, or say the status beside it."""
        succeeded = reply.status // 100 == 2
        if self.manner.implicit:
            if not succeeded:
                raise self.connection.refusal(reply, self.name)
            return read(reply)
        return (read(reply) if succeeded else reply.text), reply.status

    def _returned(self, reply: Reply, text: str | None) -> Any:
        """Read an answer by the stub's return annotation, else by its Content-Type."""
        wanted = self.description.returns if self.description else ""
        if wanted not in plain.RETURN_TYPES:
            if self.types is not None and self.types.reads_answers:
                kind = reply.headers.get("Content-Type", "")
                return self.types.answered(
                    lambda loads: plain.answer(kind, reply.body, loads),
                    lambda found: self._unexpected(found, reply),
                )
            if text is not None:
                return text
            return plain.answer(reply.headers.get("Content-Type", ""), reply.body)
        if wanted == "bytes":
            return reply.body
        answered = _utf8(reply, self)
        if wanted == "str":
            return answered
        try:
            return plain.converted(wanted, answered)
        except ValueError:
            raise self.broken(
                f"answered {names.printable(answered[:60])!r}, which is not the {wanted} that the"
                " stub's return annotation says; correct the annotation or pass unpack_args=",
                reply,
                ResultMismatch,
            ) from None

    # ------------------------------------------------------------ by protocol

    def _call_by_protocol(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], deadline: Deadline
    ) -> Conversation[Any]:
        reply = yield from self.send(self.pack(args, kwargs), PROTOCOL_HEADERS, deadline)
        self.check_envelope(reply)
        try:
            answer = protocol.read_answer(reply.body, allow_unsafe=not self.manner.safe_args)
        except ProtocolMismatch as error:
            raise self.broken(f"broke the protocol: {error}", reply) from error
        self.notice_absence(answer)
        if not self.manner.implicit:
            return self.stated(answer, reply)
        if answer.kind == "error":
            raise self.located(answer.value, reply)
        return self.fitting(answer.value, reply)

    def notice_absence(self, answer: protocol.Answer) -> None:
        """Tell the list's owner where the module lacks the function, or is no module any more."""
        gone = answer.refused and isinstance(answer.value, FunctionNotFound)
        if gone and self.path and self.watch is not None:
            self.watch.gone(answer.value)

    def pack(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Write the envelope of one call."""
        parameters = (self.description and self.description.parameters) or ()
        try:
            return protocol.pack_call(
                args, kwargs, safe=self.manner.safe_args, names=[each.name for each in parameters]
            )
        except CannotTravel as error:
            if self.description is None or self.description.safe:
                raise
            # It takes pickles, but what a gateway says has none sent or read: the user says so.
            way = (
                f"call {self.python_name}.options(safe_args=False), with which whoever answers can"
                " run code here"
            )
            raise by_another_way(error, way) from None

    def stated(
        self, answer: protocol.Answer, reply: Reply, status: int | None = None
    ) -> tuple[Any, int]:
        """Say the status beside a value, or beside an error's text."""
        stated = reply.status if status is None else status
        if answer.kind == "error":
            return _error_text(answer.value), stated
        return self.fitting(answer.value, reply), stated

    def check_envelope(self, reply: Reply) -> None:
        """See that an answer is a whole envelope of our version, whatever it holds."""
        version = reply.headers.get(protocol.PROTOCOL_HEADER)
        if version is None:
            # Another function has taken the name: what was remembered of it no longer holds.
            self.speaks_protocol = False
            raise self._mismatch(reply)
        if version != protocol.PROTOCOL_VERSION:
            raise self.broken(
                f"answered by version {names.printable(version[:20])} of the protocol and this side"
                f" speaks version {protocol.PROTOCOL_VERSION}; upgrade the older side, or publish"
                " the function again",
                reply,
            )
        self._check_whole(reply)
        if reply.headers.get("Content-Type", "") != protocol.CONTENT_TYPE:
            raise self.connection.refusal(reply, self.name)

    def _mismatch(self, reply: Reply) -> Exception:
        if reply.status // 100 != 2:
            return self.connection.refusal(reply, self.name)
        return self.broken(
            "answered without Away's protocol, which it spoke before or was published with; look at"
            " what is deployed under that name, and import or decorate it again",
            reply,
        )

    def broken(
        self, what: str, reply: Reply, kind: type[ProtocolMismatch] = ProtocolMismatch
    ) -> ProtocolMismatch:
        """Make the error for an answer that was not understood: who did what, and in which call."""
        call = f" (X-Call-Id {reply.call_id})" if reply.call_id else ""
        return kind(
            f"`{self.shown_name}` on {self.connection.url} {what}{call}",
            gateway=self.connection.url,
            function=self.name,
            status=reply.status,
            call_id=reply.call_id,
        )

    def _check_whole(self, reply: Reply) -> None:
        """Refuse an answer cut short, which a gateway may pass on as a complete-looking 200."""
        stated = reply.headers.get(protocol.LENGTH_HEADER)
        if stated != str(len(reply.body)):
            raise AnswerLost(
                f"`{self.shown_name}` on {self.connection.url} answered {len(reply.body)} of"
                f" {stated or 'an unstated number of'} bytes, so it or its gateway stopped in"
                f" mid-answer; it may have run: read its log before calling again"
                f" (X-Call-Id {reply.call_id})",
                gateway=self.connection.url,
                function=self.name,
                status=reply.status,
                call_id=reply.call_id,
            )

    def located(self, error: BaseException, reply: Reply) -> BaseException:
        """Fill in where one of Away's own errors came from, where it does not say so itself."""
        if isinstance(error, AwayError):
            error.gateway = error.gateway or self.connection.url
            error.function = error.function or self.name
            error.call_id = error.call_id or reply.call_id
        return error


PROTOCOL_HEADERS = {
    "Content-Type": protocol.CONTENT_TYPE,
    protocol.PROTOCOL_HEADER: protocol.PROTOCOL_VERSION,
}


def _asks_for_protocol(reply: Reply) -> bool:
    return reply.status == 415 and reply.headers.get(protocol.PROTOCOL_HEADER) is not None


def _utf8(reply: Reply, caller: Caller) -> str:
    """Decode an answer as UTF-8, whatever its headers say or leave out."""
    try:
        return reply.body.decode()
    except UnicodeDecodeError as error:
        raise caller.broken(
            f"answered bytes that are not UTF-8 (at byte {error.start}); annotate the stub with"
            " -> bytes",
            reply,
        ) from None


def _error_text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
