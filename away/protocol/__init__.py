"""What two sides say to each other: envelopes between Aways, plain lists and values to others.

Between two Aways a call is one JSON object with arguments and keywords, an answer one with a value,
a generator's items, or the function's exception, under a Content-Type of their own. To and from
those who are not Away (the functions and clients of the project of 2023, curl, faas-cli) a call is
the list of its arguments and an answer the bare value, as text that PyYAML and json read alike.

Unsafe calls (``safe_args=False``) carry pickles made by dill in the same envelopes. **Reading a
pickle runs code of whoever wrote it**: whoever reaches a function published unsafe can run anything
in it, and whoever answers an unsafe call can run anything here. So it takes both sides: a function
published safe never unpickles, and a caller unpickles an answer only if its call was unsafe.

This room knows no HTTP, no gateway and no function; it makes and reads bytes.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Any, NamedTuple

from away.exceptions import CannotTravel, ProtocolMismatch
from away.names import printable
from away.protocol import refusals, remote_errors, values, yaml_text
from away.protocol.refusals import MAX_DEPTH
from away.protocol.values import RESERVED_KEY, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = [
    "CONTENT_TYPE",
    "DEPLOYMENT_HEADER",
    "DIGEST_HEADER",
    "LENGTH_HEADER",
    "MAX_BODY_BYTES",
    "MAX_DEPTH",
    "PROTOCOL_HEADER",
    "PROTOCOL_VERSION",
    "STUB_HEADER",
    "TEXT_CONTENT_TYPE",
    "Answer",
    "Call",
    "answer_of",
    "call_of",
    "make_client_pack_args_fn",
    "make_client_unpack_args_fn",
    "pack_bare",
    "pack_call",
    "pack_error",
    "pack_items",
    "pack_list",
    "pack_value",
    "read_answer",
    "read_bare",
    "read_call",
    "read_positional",
]

PROTOCOL_VERSION = "1"
CONTENT_TYPE = "application/vnd.away+yaml"
# For others: without a charset, requests reads text/plain as ISO-8859-1.
TEXT_CONTENT_TYPE = "application/yaml; charset=utf-8"
PROTOCOL_HEADER = "X-Away-Protocol"
STUB_HEADER = "X-Away-Stub"
LENGTH_HEADER = "X-Away-Length"
DIGEST_HEADER = "X-Away-Digest"
DEPLOYMENT_HEADER = "X-Away-Deployment"
# A guard against a body that fills the memory of a function's container; configurable there.
MAX_BODY_BYTES = 16 * 1024 * 1024

# The arguments are one level of the text but none of each argument's own.
_LIST_LEVELS = MAX_DEPTH + 1
# error → args → the value; a group's members are a few levels further down.
_ERROR_LEVELS = MAX_DEPTH + 50


class Call(NamedTuple):
    """A call as the runtime gets it; ``safe`` tells whether it came without a pickle."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    safe: bool


class Answer(NamedTuple):
    """An answer as the caller gets it.

    ``kind`` is ``"value"``, ``"items"`` (of a generator; ``value`` is their list) or ``"error"``
    (``value`` is an exception to be raised). ``refused`` tells that nothing of the function ran.
    """

    kind: str
    value: Any
    refused: bool


# --- calls between two Aways ----------------------------------------------------------------------


def pack_call(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    safe: bool = True,
    names: Sequence[str] = (),
) -> bytes:
    """Write a call's envelope.

    Args:
        args: The positional arguments.
        kwargs: The keyword arguments.
        safe: False sends a pickle by dill, which only a function published unsafe reads.
        names: The names of the positional parameters, for the error's text.

    Returns:
        The body of the request.

    Raises:
        CannotTravel: An argument, named with the path inside it and its type.

    Example:
        >>> pack_call((1, (2, 3)), {"key": "x"})
        b'{"args": [1, {"$away": ["tuple", 2, 3]}], "kwargs": {"key": "x"}}'
    """
    if not safe:
        return _pack_pickle((tuple(args), dict(kwargs)), _labelled(args, kwargs, names), {})
    try:
        return values.write({"args": list(args), "kwargs": dict(kwargs)}, levels=_LIST_LEVELS)
    except Refused:
        raise _refusal(_labelled(args, kwargs, names)) from None


def read_call(body: bytes, *, allow_unsafe: bool) -> Call:
    """Read a call's envelope.

    Args:
        body: The body of the request.
        allow_unsafe: Whether the function was published with ``safe_args=False``; only then is a
            pickle read, **which runs code of whoever wrote it**.

    Returns:
        The arguments.

    Raises:
        ProtocolMismatch: The body is no envelope, or has a pickle that is not read.

    Example:
        >>> read_call(b'{"args": [1], "kwargs": {"key": "x"}}', allow_unsafe=False)
        Call(args=(1,), kwargs={'key': 'x'}, safe=True)
    """
    return call_of(_read_envelope(body, "call", lambda _: _LIST_LEVELS), allow_unsafe=allow_unsafe)


def call_of(found: dict[Any, Any], *, allow_unsafe: bool) -> Call:
    """Make a call of its envelope, read as JSON; see :func:`read_call`."""
    keys = found.keys()
    if keys == {"dill"}:
        if not allow_unsafe:
            raise ProtocolMismatch(
                "the call carries a pickle, which a function published safe never reads;"
                " call it without safe_args=False, or publish it with it"
            )
        found = dict(zip(("args", "kwargs"), _pair(_load_pickle(found["dill"])), strict=True))
        if type(found["args"]) is tuple:
            found["args"] = list(found["args"])
    elif keys != {"args", "kwargs"}:
        raise _unknown_keys("call", found)
    args, kwargs = found["args"], found["kwargs"]
    if type(args) is not list or type(kwargs) is not dict or set(map(type, kwargs)) - {str}:
        raise ProtocolMismatch("the call's envelope has arguments in no known form")
    return Call(tuple(args), kwargs, keys != {"dill"})


def _pair(loaded: Any) -> tuple[Any, Any]:
    if type(loaded) is not tuple or len(loaded) != 2:
        raise ProtocolMismatch("the call carries a pickle that holds no arguments")
    return loaded


# --- answers between two Aways --------------------------------------------------------------------


def pack_value(value: Any, *, safe: bool = True, function: str = "") -> bytes:
    """Write the answer that holds what a function returned.

    Args:
        value: The function's result.
        safe: False answers by a pickle; for a call that carried one.
        function: The function's name, for the error's text.

    Returns:
        The body of the answer.

    Raises:
        CannotTravel: The result, or something in it; the message has the path to it.

    Example:
        >>> pack_value({1, })
        b'{"value": {"$away": ["set", 1]}}'
    """
    if not safe:
        return _pack_pickle(value, [(_result_of(function), "result", value)], {})
    if (text := values.scalar_text(value)) is not None:
        return f'{{"value": {text}}}'.encode()
    try:
        return values.write({"value": value}, levels=MAX_DEPTH)
    except Refused:
        raise refusals.refusal(value, _result_of(function), "result") from None


def pack_items(items: list[Any], *, safe: bool = True, function: str = "") -> bytes:
    """Write the answer that holds the items of a generator.

    Args:
        items: All that the function yielded.
        safe: False answers by a pickle; for a call that carried one.
        function: The function's name, for the error's text.

    Returns:
        The body of the answer.

    Raises:
        CannotTravel: An item, or something in it; the message has the path to it.

    Example:
        >>> pack_items([1, 2])
        b'{"items": [1, 2]}'
    """
    of = f" of {function!r}" if function else ""
    labelled = [(f"item {i}{of}", f"items[{i}]", item) for i, item in enumerate(items)]
    if not safe:
        return _pack_pickle(items, labelled, {"items": True})
    try:
        return values.write({"items": items}, levels=_LIST_LEVELS)
    except Refused:
        raise _refusal(labelled) from None


def pack_error(exc: BaseException, *, safe: bool = True, refused: bool = False) -> bytes:
    """Write the answer that holds an exception. This never fails, whatever the exception holds.

    Args:
        exc: What was raised.
        safe: Taken for the likeness of the others: an exception never travels as a pickle.
        refused: Whether the call was refused before anything of the function ran.

    Returns:
        The body of the answer.

    Example:
        >>> read_answer(pack_error(KeyError("a")), allow_unsafe=False).value
        KeyError('a')
    """
    del safe
    envelope: dict[str, Any] = {"error": remote_errors.describe(exc)}
    if refused:
        envelope["refused"] = True
    try:
        return values.write(envelope, levels=_ERROR_LEVELS)
    except Refused:
        # Its arguments changed while they were looked at, or groups were nested too deep.
        kept = ("module", "qualname", "text", "traceback")
        envelope["error"] = {key: envelope["error"][key] for key in kept}
        return values.write(envelope, levels=_ERROR_LEVELS)


def read_answer(body: bytes, *, allow_unsafe: bool) -> Answer:
    """Read an answer's envelope.

    Args:
        body: The body of the answer.
        allow_unsafe: Whether the call was unsafe; only then is a pickle read, **which runs code
            of whoever wrote it**.

    Returns:
        The value, the items, or an exception ready to be raised.

    Raises:
        ProtocolMismatch: The body is no envelope, or has a pickle that is not read.

    Example:
        >>> read_answer(b'{"value": 3}', allow_unsafe=False)
        Answer(kind='value', value=3, refused=False)
    """
    return answer_of(_read_envelope(body, "answer", _answer_levels), allow_unsafe=allow_unsafe)


def answer_of(found: dict[Any, Any], *, allow_unsafe: bool) -> Answer:
    """Make an answer of its envelope, read as JSON; see :func:`read_answer`."""
    keys = found.keys()
    if keys == {"value"}:
        return Answer("value", found["value"], refused=False)
    if keys == {"items"} and type(found["items"]) is list:
        return Answer("items", found["items"], refused=False)
    if keys == {"dill"} or (keys == {"dill", "items"} and found["items"] is True):
        if not allow_unsafe:
            raise ProtocolMismatch(
                "the answer carries a pickle, which is read only by a call with safe_args=False"
            )
        loaded = _load_pickle(found["dill"])
        if "items" in found and type(loaded) is not list:
            raise ProtocolMismatch("the answer carries a pickle that holds no items")
        return Answer("items" if "items" in found else "value", loaded, refused=False)
    if keys == {"error"} or (keys == {"error", "refused"} and type(found["refused"]) is bool):
        error = remote_errors.rebuild(found["error"])
        return Answer("error", error, refused=found.get("refused", False))
    raise _unknown_keys("answer", found)


# --- to and from those who are not Away -----------------------------------------------------------


def pack_list(args: Sequence[Any]) -> str:
    """Write positional arguments for a function that is not Away's: one list, in one line.

    Args:
        args: Every argument in the declared order, defaults filled in. A tuple goes as a list.

    Returns:
        Text that json and PyYAML read alike; ``[]`` for no argument, never nothing.

    Raises:
        CannotTravel: An argument, with the path inside it and its type.

    Example:
        >>> pack_list([1, "a", None, b"hi"])
        '[1, "a", null, !!binary "aGk="]'
    """
    try:
        return yaml_text.write_text(list(args), levels=_LIST_LEVELS)
    except Refused:
        raise _refusal(_labelled(args, {}, ()), judged=yaml_text.judge) from None


def read_positional(body: bytes, *, safe: bool, stated_json: bool = False) -> tuple[Any, ...]:
    r"""Read the arguments of a call that is not Away's: from curl, faas-cli, the older clients.

    Args:
        body: JSON or YAML as UTF-8: nothing is no argument, a list is the arguments, and anything
            else is the one argument.
        safe: Whether the function was published safe. If not, ``!!python/tuple`` is read, and the
            text envelope of :func:`make_client_pack_args_fn`, **which runs code of whoever wrote
            it**.
        stated_json: Whether the request's Content-Type says JSON: then ``1e5`` is a number.

    Returns:
        The arguments.

    Raises:
        ProtocolMismatch: Not UTF-8, neither JSON nor YAML, beyond a limit, or a Python tag.

    Example:
        >>> read_positional(b"- 1\n- [2]\n", safe=True), read_positional(b"", safe=True)
        ((1, [2]), ())
    """
    try:
        text = str(body, "utf-8")
    except UnicodeDecodeError:
        raise ProtocolMismatch("the body is not UTF-8, so it has no arguments to read") from None
    if not text.strip():
        return ()
    found = yaml_text.read_text(
        text, levels=_LIST_LEVELS, python_tuples=not safe, stated_json=stated_json
    )
    if type(found) is list or (type(found) is tuple and not safe):
        return tuple(found)
    if not _has_pickle(found):
        return (found,)
    if safe:
        raise ProtocolMismatch(
            "the body carries a pickle, which a function published safe never reads; call it with"
            " safe_args=True, or publish it with safe_args=False"
        )
    loaded = _load_pickle(found[RESERVED_KEY][1])
    if type(loaded) is not tuple:
        raise ProtocolMismatch("the body carries a pickle that holds no arguments")
    return loaded


def pack_bare(
    value: Any,
    *,
    ascii: bool = True,  # noqa: A002
    safe: bool = True,
    function: str = "",
) -> bytes:
    r"""Write a result for a caller that is not Away: the bare value as text.

    Args:
        value: The function's result. A tuple goes as a list.
        ascii: Escape what is not ASCII up to U+FFFF, for callers that guess the charset.
        safe: False writes what has no such form as the text envelope of a pickle, which
            ``make_client_unpack_args_fn(safe_args=False)`` reads; for a call that carried one.
        function: The function's name, for the error's text.

    Returns:
        UTF-8 text that ``yaml.safe_load`` reads.

    Raises:
        CannotTravel: Something in the result; the message has the path to it.

    Example:
        >>> pack_bare({"a": "é"})
        b'{"a": "\\u00e9"}'
    """
    try:
        return yaml_text.write_text(value, ascii_only=ascii, python_tuples=not safe).encode()
    except Refused:
        if not safe:
            return _pack_pickle_text(value, [(_result_of(function), "result", value)]).encode()
        raise refusals.refusal(
            value, _result_of(function), "result", judged=yaml_text.judge
        ) from None


def read_bare(text: str, *, stated_json: bool = False) -> Any:
    r"""Read the answer of a function that is not Away's: a bare value.

    Args:
        text: JSON or YAML; newlines and ``...`` at its end are no part of the value.
        stated_json: Whether the answer's Content-Type says JSON: then ``1e5`` is a number.

    Returns:
        The value; of an empty answer None.

    Raises:
        ProtocolMismatch: Neither JSON nor YAML, beyond a limit, or a tag that is not read.

    Example:
        >>> read_bare("3\n...\n"), read_bare('{"a": [1.5]}')
        (3, {'a': [1.5]})
    """
    return yaml_text.read_text(text, stated_json=stated_json)


def make_client_pack_args_fn(safe_args: bool = True) -> Callable[[Iterable[Any]], str]:
    """Give the function that packs positional arguments for a stub's ``pack_args``.

    Args:
        safe_args: False also takes what only a pickle carries: such arguments go as a text
            envelope by dill, which only a function that Away published with ``safe_args=False``
            reads. **Whoever reaches such a function can run code in it.**

    Returns:
        A function from the arguments to the request's text; it can be pickled.

    Example:
        >>> make_client_pack_args_fn()([1, [2, 3]])
        '[1, [2, 3]]'
    """
    return _pack_args if safe_args else _pack_args_unsafe


def make_client_unpack_args_fn(safe_args: bool = True) -> Callable[[str], Any]:
    r"""Give the function that reads an answer's text for a stub's ``unpack_args``.

    Args:
        safe_args: False also reads ``!!python/tuple`` and pickles. **Whoever answers can then run
            code in this process.**

    Returns:
        A function from the answer's text to the value; it can be pickled.

    Example:
        >>> make_client_unpack_args_fn()("- 1\n- 2\n")
        [1, 2]
    """
    return _unpack if safe_args else _unpack_unsafe


def _pack_args(args: Iterable[Any]) -> str:
    return pack_list(tuple(args))


def _pack_args_unsafe(args: Iterable[Any]) -> str:
    args = list(args)
    try:
        return yaml_text.write_text(args, levels=_LIST_LEVELS, python_tuples=True)
    except Refused:
        return _pack_pickle_text(tuple(args), _labelled(args, {}, ()))


def _unpack(text: str) -> Any:
    return read_bare(text)


def _unpack_unsafe(text: str) -> Any:
    found = yaml_text.read_text(text, python_tuples=True)
    return _load_pickle(found[RESERVED_KEY][1]) if _has_pickle(found) else found


# --- the parts that they share --------------------------------------------------------------------

_Labelled = tuple[str, str, Any]  # what it is in a sentence, what its path begins with, the value


def _result_of(function: str) -> str:
    return f"the result of {function!r}" if function else "the result"


def _labelled(
    args: Sequence[Any], kwargs: Mapping[str, Any], names: Sequence[str]
) -> list[_Labelled]:
    found: list[_Labelled] = []
    for index, value in enumerate(args):
        if index < len(names):
            found.append((f"argument {names[index]!r}", names[index], value))
        else:
            found.append((f"argument {index + 1}", f"args[{index}]", value))
    found += [(f"argument {name!r}", name, value) for name, value in kwargs.items()]
    return found


def _refusal(
    labelled: list[_Labelled], judged: Callable[[Any, bool], str | None] = refusals.judge
) -> CannotTravel:
    """Find which of some values cannot travel, and make the error that says so."""
    for label, root, value in labelled:
        error = refusals.refusal_of(value, label, root, judged=judged)
        if error is not None:
            return error
    return CannotTravel(
        "the arguments are nested too deeply for what is left of Python's stack here;"
        " call from a shallower place"
    )


def _answer_levels(found: Any) -> int:
    if type(found) is dict and "error" in found:
        return _ERROR_LEVELS
    return _LIST_LEVELS if type(found) is dict and "items" in found else MAX_DEPTH


def _read_envelope(body: bytes, what: str, levels: Callable[[Any], int]) -> dict[Any, Any]:
    found = values.read(body, levels=levels)
    if type(found) is not dict:
        raise ProtocolMismatch(f"the {what} is no envelope of Away's; is this another protocol?")
    return found


def _unknown_keys(what: str, found: dict[Any, Any]) -> ProtocolMismatch:
    shown = ", ".join(sorted(printable(str(key)[:40]) for key in list(found)[:5]))
    return ProtocolMismatch(
        f"the {what}'s envelope has the keys ({shown}), which protocol {PROTOCOL_VERSION} does not"
        " know together; upgrade this side or publish the function again"
    )


def _pack_pickle(value: Any, labelled: list[_Labelled], beside: dict[str, Any]) -> bytes:
    return values.write({"dill": _dump_pickle(value, labelled), **beside}, levels=MAX_DEPTH)


def _pack_pickle_text(value: Any, labelled: list[_Labelled]) -> str:
    return yaml_text.write_text({RESERVED_KEY: ["dill", _dump_pickle(value, labelled)]})


def _has_pickle(found: Any) -> bool:
    """Tell the text envelope of a pickle from a dict of the user's."""
    if type(found) is not dict or found.keys() != {RESERVED_KEY}:
        return False
    marked = found[RESERVED_KEY]
    return type(marked) is list and len(marked) == 2 and marked[0] == "dill"


def _dumped(value: Any) -> bytes:
    import dill

    # With recurse a function takes along what it uses of its module's names, and not all of them.
    data: bytes = dill.dumps(value, recurse=True)
    return data


def _dump_pickle(value: Any, labelled: list[_Labelled]) -> str:
    try:
        data = _dumped(value)
    except Exception as error:  # what is pickled has code of its own, which may raise anything
        for label, root, part in labelled:
            try:
                _dumped(part)
            except Exception as cause:  # as above
                raise _no_pickle(label, root, part, cause) from cause
        raise _no_pickle("the whole", "", value, error) from error
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def _no_pickle(label: str, root: str, value: Any, cause: Exception) -> CannotTravel:
    why = printable(" ".join(str(cause).split())[:200])
    return CannotTravel(
        f"{label} is {refusals.type_text(type(value))}, which not even a pickle can carry"
        f" ({type(cause).__name__}: {why}); send plain data instead",
        path=root,
    )


def _load_pickle(text: object) -> Any:
    if type(text) is not str:
        raise ProtocolMismatch("the body carries a pickle that is no text")
    import dill

    try:
        return dill.loads(binascii.a2b_base64(text, strict_mode=True))
    except Exception as error:  # a pickle runs code of its sender's, which may raise anything
        why = printable(" ".join(str(error).split())[:200])
        raise ProtocolMismatch(
            f"the body carries a pickle that cannot be read here ({type(error).__name__}: {why});"
            " both sides need the same modules and Python"
        ) from error
