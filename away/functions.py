"""Remote functions: one object behind every way in, whether imported, decorated or published.

A :class:`RemoteFunction` binds its arguments before anything is sent, chooses how to speak to the
function, and gives back its value or raises its exception. It looks like a function to ``inspect``,
``help`` and ``mock``, and pickles to a reference. How bytes reach the gateway is the connection's.
"""

from __future__ import annotations

import json
import types
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from away import names, protocol, signatures
from away.exceptions import (
    AnswerLost,
    AwayError,
    CannotTravel,
    ConfigError,
    FunctionNotFound,
    ProtocolMismatch,
)

if TYPE_CHECKING:
    import inspect
    from collections.abc import AsyncIterator, Callable, Iterable

    from away.connection import FaasConnection
    from away.connection.catalogue import FunctionInfo
    from away.connection.conversations import Conversation, Deadline, Reply

__all__ = ["RemoteFunction", "from_info", "resolve"]

P = ParamSpec("P")
R = TypeVar("R")

# Stands for "not given" where None is a value of its own.
_UNSET: Any = object()

_PLAIN_RETURNS = ("int", "float", "bool", "str", "bytes", "list", "dict")


class _Dialect:
    """How a remote function is spoken to; the string is what the repr of an error may show."""

    AUTO = "auto"  # plain first; by protocol once the function asked for it
    LIST = "list"  # the positional list that the project of 2023 reads; protocol if asked for
    PACKED = "packed"  # the user's own pack and unpack
    PROTOCOL = "protocol"  # a function that Away published


class _LazySignature:
    """``__signature__``, made at the first look, since :mod:`inspect` is slow to import."""

    def __get__(self, function: RemoteFunction[Any, Any] | None, owner: type) -> inspect.Signature:
        if function is None:
            raise AttributeError("__signature__")  # the class keeps that of its constructor
        found = function.__dict__["__signature__"] = function._make_signature()  # noqa: SLF001 - its own attribute
        return cast("inspect.Signature", found)


class RemoteFunction(Generic[P, R]):
    """A function behind a gateway, called as if it were local.

    Args:
        connection: The gateway's connection.
        name: The function's name; ``sum_two_numbers`` also finds ``sum-two-numbers``.
        namespace: The OpenFaaS namespace, or an empty string for the gateway's default.
        kind: How it is called; taken from the description if it is left out.
        description: What is known of its signature; without it any arguments are taken.
        python_name: The ``__name__`` to show; made from the name if it is left out.
        module: The ``__module__`` to show.
        dialect: ``auto``, ``list`` or ``protocol``.
        pack: Packs the positional arguments into a text, in place of the dialect.
        unpack: Makes the call's value from the answer's text, in place of the dialect.
        safe_args: False to send and read pickles, for a function published so. Whoever answers
            then can run code in this process.
        implicit_exception_handling: False to return ``(value, status)`` and raise for no status.
        timeout: Seconds for a whole call with its retries; the connection's if it is left out.
        idempotent: True if a call may be sent again when it is not known whether it ran.
        local: The local function that was published or decorated, kept at hand as ``local``.

    Raises:
        NameRefused: The name is one that no gateway could call.
        ConfigError: ``pack`` stands beside parameters that a list of positions cannot carry.
    """

    __signature__ = _LazySignature()

    def __init__(
        self,
        connection: FaasConnection,
        name: str,
        *,
        namespace: str = "",
        kind: signatures.Kind | None = None,
        description: signatures.Description | None = None,
        python_name: str | None = None,
        module: str | None = None,
        dialect: str = _Dialect.AUTO,
        pack: Callable[[Iterable[Any]], str] | None = None,
        unpack: Callable[[str], Any] | None = None,
        safe_args: bool = True,
        implicit_exception_handling: bool = True,
        timeout: float | None = None,
        idempotent: bool = False,
        local: Callable[..., Any] | None = None,
    ) -> None:
        self.connection = connection
        self.namespace = namespace
        self.kind: signatures.Kind = kind or (description.kind if description else "sync")
        self.local = local
        self._spellings = [names.check_callable_name(each) for each in names.candidates(name)]
        self._dialect = _Dialect.PACKED if pack is not None and dialect == "auto" else dialect
        self._pack = pack
        self._unpack = unpack
        self._safe_args = safe_args
        self._implicit = implicit_exception_handling
        self._timeout = timeout
        self._idempotent = idempotent
        # Whether the function asked for the protocol; a published one is known to speak it.
        self._speaks_protocol = dialect == _Dialect.PROTOCOL
        self._dress(python_name or names.python_name(name), module)
        self.description = description
        self._learn(description)
        if pack is not None:
            self._check_packable()

    # ------------------------------------------------------------ what it looks like

    def _dress(self, python_name: str, module: str | None) -> None:
        local = self.local
        self.__name__ = python_name
        self.__qualname__ = getattr(local, "__qualname__", python_name)
        self.__module__ = module or getattr(local, "__module__", None) or __name__
        self.__globals__: dict[str, Any] = {}

    def _learn(self, description: signatures.Description | None) -> None:
        """Take a description on: the binder and the attributes that look like a function's."""
        self.description = description
        parameters = description.parameters if description else None
        self._bind = None if parameters is None else signatures.binder(self.__name__, parameters)
        shown = signatures.face(self.__name__, parameters, self.kind)
        self.__code__ = shown.__code__
        self.__defaults__ = shown.__defaults__
        self.__kwdefaults__ = shown.__kwdefaults__
        self.__annotations__ = self._shown_annotations(description)
        self.__doc__ = self._shown_doc(description)
        self.__dict__.pop("__signature__", None)

    def _shown_annotations(self, description: signatures.Description | None) -> dict[str, Any]:
        if self.local is not None and self._is_stub_of(self.local):
            return dict(getattr(self.local, "__annotations__", {}))
        if description is None:
            return {}
        shown = {
            each.name: signatures.annotation_value(each.annotation)
            for each in description.parameters or ()
            if each.annotation
        }
        if description.returns:
            shown["return"] = signatures.annotation_value(description.returns)
        return shown

    def _is_stub_of(self, local: Callable[..., Any]) -> bool:
        return isinstance(local, types.FunctionType)

    def _shown_doc(self, description: signatures.Description | None) -> str | None:
        if self.local is not None:
            return getattr(self.local, "__doc__", None)
        return (description.doc if description else "") or None

    def _make_signature(self) -> inspect.Signature:
        if self.local is not None:
            import inspect

            try:
                return inspect.signature(self.local)
            except (TypeError, ValueError):
                pass  # a builtin without one: what is known of it stands below
        return signatures.signature(self.description or signatures.Description())

    @property
    def function_name(self) -> str:
        """The name under which the gateway is asked for the function."""
        return self._spellings[0]

    def __repr__(self) -> str:
        place = f"{self.function_name}.{self.namespace}" if self.namespace else self.function_name
        return f"<remote function {place} on {self.connection.url}>"

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind like a function, so that a proxy in a class body is a method there."""
        return self if instance is None else types.MethodType(self, instance)

    # ------------------------------------------------------------ references

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle to a reference; the reading process finds credentials of its own."""
        return resolve, (self.connection.url, self.namespace, self.function_name, self._options())

    def _options(self) -> dict[str, Any]:
        options = {
            "kind": self.kind,
            "description": self.description,
            "python_name": self.__name__,
            "module": self.__module__,
            "dialect": self._dialect if self._dialect != _Dialect.PACKED else _Dialect.AUTO,
            "pack": self._pack,
            "unpack": self._unpack,
            "safe_args": self._safe_args,
            "implicit_exception_handling": self._implicit,
            "timeout": self._timeout,
            "idempotent": self._idempotent,
        }
        return {key: value for key, value in options.items() if value is not None}

    def __copy__(self) -> RemoteFunction[P, R]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> RemoteFunction[P, R]:
        return self

    @property
    def __away_reference__(self) -> tuple[str, str, str]:
        """The gateway's URL, the namespace and the name: what capture carries of a proxy."""
        return self.connection.url, self.namespace, self.function_name

    @property
    def __away_original__(self) -> Callable[..., Any] | None:
        """The local function that this proxy was made from, where it is known."""
        return self.local

    def options(
        self,
        *,
        timeout: float | None = _UNSET,
        idempotent: bool = _UNSET,
        safe_args: bool = _UNSET,
    ) -> RemoteFunction[P, R]:
        """Return the same function called with other options; this one stays as it is.

        Args:
            timeout: Seconds for a whole call with its retries.
            idempotent: True if a call may be sent again when it is not known whether it ran.
            safe_args: False to send and read pickles; whoever answers can then run code here.

        Returns:
            A remote function that differs in the options given.
        """
        given = {"timeout": timeout, "idempotent": idempotent, "safe_args": safe_args}
        changed = {key: value for key, value in given.items() if value is not _UNSET}
        made = RemoteFunction[P, R](
            self.connection,
            self.function_name,
            namespace=self.namespace,
            local=self.local,
            **{**self._options(), **changed},
        )
        made._speaks_protocol = self._speaks_protocol
        return made

    # ------------------------------------------------------------ the call

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function on its gateway.

        Returns:
            What the function returns; a coroutine of it for an async function.

        Raises:
            TypeError: The arguments do not fit the signature; nothing was sent.
            CannotTravel: An argument cannot be sent; nothing was.
            AwayError: The call failed on its way; see :mod:`away.exceptions`.
            Exception: What the function itself raised, with the remote traceback as a note.
        """
        if self._bind is not None:
            self._bind(*args, **kwargs)
        conversation = self._call(args, kwargs)
        result: Any
        if self.kind == "sync":
            result = self.connection.run(conversation)
        elif self.kind == "async":
            result = self.connection.aio.run(conversation)
        elif self.kind == "generator":
            result = iter(self.connection.run(conversation))
        else:
            result = self._iterate(conversation)
        return cast("R", result)

    async def _iterate(self, conversation: Conversation[Any]) -> AsyncIterator[Any]:
        for item in await self.connection.aio.run(conversation):
            yield item

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Conversation[Any]:
        """Hold the whole conversation of one call: plainly first, by protocol where it is spoken."""
        deadline = self.connection.deadline(self._timeout)
        if self._dialect == _Dialect.PACKED:
            return (yield from self._call_packed(args, kwargs, deadline))
        if not self._speaks_protocol:
            plain = self._plain_request(args, kwargs)
            if plain is None:
                yield from self._ask_whether_published(args, kwargs, deadline)
            else:
                reply = yield from self._send(*plain, deadline)
                if not _asks_for_protocol(reply):
                    return self._read_plain(reply)
            self._speaks_protocol = True
        return (yield from self._call_by_protocol(args, kwargs, deadline))

    def _send(
        self, body: bytes, headers: dict[str, str], deadline: Deadline
    ) -> Conversation[Reply]:
        """Send one request under the spelling of the name that the gateway knows.

        Where the gateway does not know the function nothing ran, so asking for ``my-fn`` after
        ``my_fn`` repeats nothing; the spelling that was found is the only one from then on.
        """
        missing: FunctionNotFound | None = None
        for spelling in self._spellings:
            try:
                reply = yield from self.connection.conversation_invoke(
                    spelling,
                    body,
                    headers=headers,
                    namespace=self.namespace,
                    deadline=deadline,
                    idempotent=self._idempotent,
                )
            except FunctionNotFound as error:
                missing = missing or error
            else:
                if len(self._spellings) > 1:
                    self._spellings = [spelling]
                return reply
        assert missing is not None, "a function has one spelling at least"
        raise missing

    # ------------------------------------------------------------ the user's own packers

    def _check_packable(self) -> None:
        parameters = (self.description and self.description.parameters) or ()
        refused = [each.name for each in parameters if each.kind >= signatures.KEYWORD_ONLY]
        if refused:
            raise ConfigError(
                f"`{self.__name__}` has the parameter {refused[0]!r}, which pack_args cannot be"
                " given: it gets the positional arguments; make it an ordinary parameter or leave"
                " pack_args out",
                function=self.function_name,
            )

    def _positional(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...] | None:
        """Return the arguments as a list of positions, or None where some have none."""
        if self._bind is not None:
            args, kwargs = self._bind(*args, **kwargs)
        return None if kwargs else args

    def _call_packed(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], deadline: Deadline
    ) -> Conversation[Any]:
        assert self._pack is not None, "this dialect is chosen by a pack"
        positional = self._positional(args, kwargs)
        if positional is None:
            raise CannotTravel(
                f"`{self.__name__}` was called with the keyword {next(iter(kwargs))!r}, which"
                " pack_args cannot be given: it gets the positional arguments",
                function=self.function_name,
            )
        text = self._pack(positional)
        if not isinstance(text, str):
            raise CannotTravel(
                f"pack_args of `{self.__name__}` gave a {type(text).__name__} and must give a str",
                function=self.function_name,
            )
        reply = yield from self._send(text.encode(), {}, deadline)
        return self._verdict(reply, self._unpacked)

    def _unpacked(self, reply: Reply) -> Any:
        text = _utf8(reply, self)
        return self._returned(reply, text) if self._unpack is None else self._unpack(text)

    # ------------------------------------------------------------ plain forms

    def _plain_request(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[bytes, dict[str, str]] | None:
        """Return body and headers of the call's plain form, or None where it has none."""
        if self._dialect == _Dialect.LIST:
            positional = self._positional(args, kwargs)
            if positional is None:
                return None
            text = protocol.make_client_pack_args_fn(safe_args=self._safe_args)(positional)
            return text.encode(), {protocol.STUB_HEADER: "list"}
        headers = {protocol.STUB_HEADER: "plain"}
        if kwargs or len(args) > 1:
            return None
        if not args:
            return b"", headers
        form = _plain_form(args[0])
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
            for spelling in self._spellings:
                info = yield from self.connection.conversation_function(
                    spelling, namespace=self.namespace, deadline=deadline
                )
                if info is not None:
                    self._spellings = [spelling]
                    description = info.description
                    break
        if description is None:
            raise CannotTravel(self._no_plain_form(args, kwargs), function=self.function_name)
        if self.description is None:
            self._learn(description)
            if self._bind is not None:
                self._bind(*args, **kwargs)

    def _no_plain_form(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        what = f"a {type(args[0]).__name__}" if len(args) == 1 and not kwargs else ""
        what = what or f"{len(args) + len(kwargs)} arguments"
        if kwargs and len(args) + len(kwargs) == 1:
            what = f"the keyword {next(iter(kwargs))!r}"
        why = "" if self.connection.is_logged_in else " (no password is known to ask the gateway)"
        return (
            f"`{self.__name__}` on {self.connection.url} was given {what}, which has no plain form,"
            f" and is not known to be a function that Away published{why}; pass pack_args= and"
            " unpack_args= to say how the arguments travel"
        )

    def _read_plain(self, reply: Reply) -> Any:
        if self._dialect == _Dialect.LIST:
            unpack = protocol.make_client_unpack_args_fn(safe_args=self._safe_args)
            return self._verdict(reply, lambda answered: unpack(_utf8(answered, self)))
        return self._verdict(reply, lambda answered: self._returned(answered, None))

    def _verdict(self, reply: Reply, read: Callable[[Reply], Any]) -> Any:
        """Give the value of a 2xx answer and raise for another, or say the status beside it."""
        succeeded = reply.status // 100 == 2
        if self._implicit:
            if not succeeded:
                raise self.connection.refusal(reply, self.function_name)
            return read(reply)
        return (read(reply) if succeeded else reply.text), reply.status

    def _returned(self, reply: Reply, text: str | None) -> Any:
        """Read an answer by the stub's return annotation, else by its Content-Type."""
        wanted = self.description.returns if self.description else ""
        if wanted not in _PLAIN_RETURNS:
            return _by_content_type(reply) if text is None else text
        if wanted == "bytes":
            return reply.body
        answered = _utf8(reply, self)
        if wanted == "str":
            return answered
        try:
            return _convert(wanted, answered.strip())
        except (ValueError, KeyError, RecursionError):
            raise ProtocolMismatch(
                f"`{self.function_name}` on {self.connection.url} answered"
                f" {names.printable(answered[:60])!r}, which is not the {wanted} that the stub's"
                " return annotation says; correct the annotation or pass unpack_args=",
                gateway=self.connection.url,
                function=self.function_name,
                status=reply.status,
                call_id=reply.call_id,
            ) from None

    # ------------------------------------------------------------ by protocol

    def _call_by_protocol(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], deadline: Deadline
    ) -> Conversation[Any]:
        parameters = (self.description and self.description.parameters) or ()
        body = protocol.pack_call(
            args, kwargs, safe=self._safe_args, names=[each.name for each in parameters]
        )
        reply = yield from self._send(body, _PROTOCOL_HEADERS, deadline)
        if reply.headers.get(protocol.PROTOCOL_HEADER) is None:
            # Another function has taken the name: what was remembered of it no longer holds.
            self._speaks_protocol = False
            raise self._mismatch(reply)
        self._check_whole(reply)
        if reply.headers.get("Content-Type", "") != protocol.CONTENT_TYPE:
            raise self.connection.refusal(reply, self.function_name)
        answer = protocol.read_answer(reply.body, allow_unsafe=not self._safe_args)
        if not self._implicit:
            failed = answer.kind == "error"
            return (_error_text(answer.value) if failed else answer.value), reply.status
        if answer.kind == "error":
            raise self._located(answer.value, reply)
        return answer.value

    def _mismatch(self, reply: Reply) -> Exception:
        if reply.status // 100 != 2:
            return self.connection.refusal(reply, self.function_name)
        return ProtocolMismatch(
            f"`{self.function_name}` on {self.connection.url} answered without Away's protocol,"
            " which it spoke before or was published with; look at what is deployed under that"
            " name, and import or decorate it again",
            gateway=self.connection.url,
            function=self.function_name,
            status=reply.status,
            call_id=reply.call_id,
        )

    def _check_whole(self, reply: Reply) -> None:
        """Refuse an answer cut short, which a gateway may pass on as a complete-looking 200."""
        stated = reply.headers.get(protocol.LENGTH_HEADER)
        if stated != str(len(reply.body)):
            raise AnswerLost(
                f"`{self.function_name}` on {self.connection.url} answered {len(reply.body)} of"
                f" {stated or 'an unstated number of'} bytes, so it or its gateway stopped in"
                " mid-answer; it may have run: read its log before calling again",
                gateway=self.connection.url,
                function=self.function_name,
                status=reply.status,
                call_id=reply.call_id,
            )

    def _located(self, error: BaseException, reply: Reply) -> BaseException:
        """Fill in where one of Away's own errors came from, where it does not say so itself."""
        if isinstance(error, AwayError):
            error.gateway = error.gateway or self.connection.url
            error.function = error.function or self.function_name
            error.call_id = error.call_id or reply.call_id
        return error


_PROTOCOL_HEADERS = {
    "Content-Type": protocol.CONTENT_TYPE,
    protocol.PROTOCOL_HEADER: protocol.PROTOCOL_VERSION,
}


def _asks_for_protocol(reply: Reply) -> bool:
    return reply.status == 415 and reply.headers.get(protocol.PROTOCOL_HEADER) is not None


def _plain_form(value: Any) -> tuple[bytes, str] | None:
    """Return the body and Content-Type of one argument's plain form, or None without one."""
    kind = type(value)
    if kind is str:
        try:
            return value.encode(), "text/plain; charset=utf-8"
        except UnicodeEncodeError:
            return None
    if kind is bytes:
        return value, "application/octet-stream"
    text = protocol.plain_json(value)
    return None if text is None else (text.encode(), "application/json")


def _by_content_type(reply: Reply) -> Any:
    kind, _, options = reply.headers.get("Content-Type", "").partition(";")
    kind = kind.strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return json.loads(reply.body)
        except (ValueError, RecursionError):
            kind = "text/plain"  # the gateway gave the answer the request's type
    if kind.startswith("text/"):
        charset = options.partition("charset=")[2].strip().strip('"') or "utf-8"
        try:
            return reply.body.decode(charset)
        except (LookupError, UnicodeDecodeError):
            pass  # bytes lose nothing, a guess would
    return reply.body


def _utf8(reply: Reply, function: RemoteFunction[..., Any]) -> str:
    """Decode an answer as UTF-8, whatever its headers say or leave out."""
    try:
        return reply.body.decode()
    except UnicodeDecodeError as error:
        raise ProtocolMismatch(
            f"`{function.function_name}` on {function.connection.url} answered bytes that are not"
            f" UTF-8 (at byte {error.start}); annotate the stub with -> bytes",
            gateway=function.connection.url,
            function=function.function_name,
            status=reply.status,
            call_id=reply.call_id,
        ) from None


def _convert(wanted: str, text: str) -> Any:
    if wanted in ("int", "float"):
        return int(text) if wanted == "int" else float(text)
    if wanted == "bool":
        return {"true": True, "false": False, "1": True, "0": False}[text.lower()]
    value = json.loads(text)
    if type(value).__name__ != wanted:
        raise ValueError(wanted)
    return value


def _error_text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


# ---------------------------------------------------------------- making them


def from_info(
    connection: FaasConnection,
    info: FunctionInfo,
    *,
    module: str | None = None,
    python_name: str | None = None,
) -> RemoteFunction[..., Any]:
    """Make the proxy of a function that the gateway lists.

    Args:
        connection: The gateway's connection.
        info: The function as listed; what Away published is known by its annotations.
        module: The ``__module__`` to show.
        python_name: The ``__name__`` to show; made from the name if it is left out.

    Returns:
        A proxy that binds calls by the signature and speaks the protocol, where these are known.
    """
    description = info.description
    return RemoteFunction(
        connection,
        info.name,
        namespace=connection.namespace,
        description=description,
        python_name=python_name,
        module=module,
        dialect=_Dialect.AUTO if description is None else _Dialect.PROTOCOL,
    )


def resolve(
    url: str, namespace: str, name: str, options: dict[str, Any] | None = None
) -> RemoteFunction[..., Any]:
    """Make the proxy that a reference stands for, with this process's own configuration.

    Args:
        url: The gateway's URL. Inside a container that runs a published function, the URL of the
            gateway that it was published on stands for the one by which the container reaches it.
        namespace: The OpenFaaS namespace, or an empty string.
        name: The function's name.
        options: What else the proxy was made with.

    Returns:
        The proxy; one connection serves all references to a gateway.
    """
    return RemoteFunction(_connection(url), name, namespace=namespace, **(options or {}))


# One connection a gateway for everything that was unpickled; guarded by the dict's own atomicity.
_connections: dict[str, FaasConnection] = {}


def _connection(url: str) -> FaasConnection:
    import os

    if os.environ.get("AWAY_OUTSIDE_URL") == url:
        url = os.environ.get("AWAY_INSIDE_URL") or url
    found = _connections.get(url)
    if found is None:
        from away.connection import FaasConnection

        found = _connections.setdefault(url, FaasConnection(url))
    return found
