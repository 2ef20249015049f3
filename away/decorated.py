"""Decorated stubs: where one stands, what of it is sent, and when its annotations are read.

A stub in the body of a class is a method there. Its instance or class is bound as Python binds it, and
never sent. The annotations are read at the first call, by :mod:`away.typed_values`, since what they
name may be defined further down in the file.
"""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

import away.signatures as signatures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from away.functions import RemoteFunction
    from away.signatures import Description
    from away.typed_values import Misfit, StubTypes

__all__ = [
    "MethodStub",
    "StubAnnotations",
    "annotations_of",
    "bound",
    "placed",
    "taken_apart",
]

# The first parameter of a method, as PEP 8 has it. A static method's is another.
_UNSENT_NAMES = ("self", "cls")


class _Unsent:
    """Stands for the instance of a stub's method, of which nothing is sent."""

    def __repr__(self) -> str:
        return "<not sent>"


def taken_apart(stub: Any) -> tuple[Any, str]:
    """Return the function of a stub, and what it is: function, method, classmethod or staticmethod."""
    if isinstance(stub, staticmethod | classmethod):
        return stub.__func__, type(stub).__name__
    if isinstance(stub, types.FunctionType) and _stands_in_class(stub):
        first = stub.__code__.co_varnames[: stub.__code__.co_argcount][:1]
        if first and first[0] in _UNSENT_NAMES:
            return stub, "method"
    return stub, "function"


def _stands_in_class(function: types.FunctionType) -> bool:
    return function.__qualname__.rpartition(".")[0].rpartition(".")[2] not in ("", "<locals>")


def bound(function: Any, form: str) -> Any:
    """Return what a call is made of: the function, or a method whose first argument is given."""
    if form in ("method", "classmethod"):
        return types.MethodType(function, _Unsent())
    return function


class MethodStub:
    """A stub in a class: a method of its instances, or of the class.

    ``instance.add`` is the remote function itself, without the parameter that is not sent, and
    ``Class.add`` takes the instance as any method does there.

    Args:
        remote: The remote function.
        function: The stub.
        of_class: Whether it is bound to the class even where it is got from that.
    """

    def __init__(
        self, remote: RemoteFunction[..., Any], function: Any, *, of_class: bool = False
    ) -> None:
        self.remote = remote
        self._function = function
        self._of_class = of_class
        self.__name__ = remote.__name__
        self.__qualname__ = function.__qualname__
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__
        self.__annotations__ = function.__annotations__
        self.__type_params__ = getattr(function, "__type_params__", ())
        whole = signatures.describe(function)
        shown = signatures.face(self.__name__, whole.parameters, whole.kind)
        self.__code__ = shown.__code__
        self.__defaults__ = shown.__defaults__
        self.__kwdefaults__ = shown.__kwdefaults__

    def __repr__(self) -> str:
        return f"<remote method {self.__qualname__} on {self.remote.connection.url}>"

    @property
    def __signature__(self) -> Any:
        """The signature of the stub, with the parameter that is not sent."""
        import inspect

        return inspect.signature(self._function)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Return the remote function; from the class itself what takes an instance first."""
        return self if instance is None and not self._of_class else self.remote

    def __call__(self, instance: object, /, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        """Call the function; the instance is not sent."""
        return self.remote(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """Give what a remote function has beside its call, such as ``map`` and ``submit``."""
        if name.startswith("_") or name == "remote":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.remote, name)


def placed(remote: RemoteFunction[..., Any], function: Any, form: str) -> Any:
    """Return what stands in a stub's place: the remote function, or a method of it in a class."""
    if form in ("method", "classmethod"):
        return MethodStub(remote, function, of_class=form == "classmethod")
    return staticmethod(remote) if form == "staticmethod" else remote


# ---------------------------------------------------------------- annotations


class StubAnnotations:
    """The annotations of a stub, for its calls; read at the first one.

    Args:
        make: Reads them; None where they cannot be had.
        reference: Module and qualified name, by which another process finds the stub.
        is_here: Whether the stub is at hand, not only its name.
    """

    def __init__(
        self,
        make: Callable[[], StubTypes | None],
        reference: tuple[str, str] | None,
        *,
        is_here: bool = True,
    ) -> None:
        self.is_here = is_here
        self._make = make
        self.reference = reference
        self._read: tuple[StubTypes | None] | None = None

    @property
    def types(self) -> StubTypes | None:
        """What the annotations say."""
        # Two threads may both read them: they read the same.
        if self._read is None:
            self._read = (self._make(),)
        return self._read[0]

    def prepare(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Check arguments and return what travels; see :meth:`away.typed_values.StubTypes.prepare`."""
        known = self.types
        return (args, kwargs) if known is None else known.prepare(args, kwargs)

    def result(self, value: Any, refuse: Callable[[Misfit], Exception]) -> Any:
        """Make the result of what came, or raise what ``refuse`` makes of a misfit."""
        known = self.types
        return value if known is None else _made(lambda: known.result(value), refuse)

    def answered(
        self, read: Callable[[Callable[[str], Any]], Any], refuse: Callable[[Misfit], Exception]
    ) -> Any:
        """Make the result of a plain answer: see :meth:`away.typed_values.StubTypes.answered`."""
        known = self.types
        assert known is not None, "only who knows types reads answers by them"
        return _made(lambda: known.answered(read), refuse)

    @property
    def reads_answers(self) -> bool:
        """Whether the return annotation says more than that a plain type comes."""
        return self.types is not None and self.types.converts_results

    def as_json(self, value: Any) -> Any:
        """Write an argument for a function that is none of Away's."""
        known = self.types
        return value if known is None else known.as_json(value)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle to the stub's name: another process reads the annotations of its own."""
        if self.reference is None:
            return _no_annotations, ()
        return _annotations_of, self.reference


def _made(make: Callable[[], Any], refuse: Callable[[Misfit], Exception]) -> Any:
    from away.typed_values import Misfit

    try:
        return make()
    except Misfit as error:
        raise refuse(error) from error.__cause__


def _no_annotations() -> None:
    """Stand for annotations that no other process could find: those of a stub in a function."""


def _annotations_of(module: str, qualname: str) -> StubAnnotations:
    return StubAnnotations(lambda: _found(module, qualname), (module, qualname), is_here=False)


def _found(module: str, qualname: str) -> StubTypes | None:
    """Find the types of a stub by its name; None where this process has it not."""
    import importlib

    try:
        found: Any = sys.modules.get(module) or importlib.import_module(module)
        for name in qualname.split("."):
            found = vars(found)[name]
    except (ImportError, KeyError, TypeError):
        return None
    if isinstance(found, staticmethod | classmethod):
        found = found.__func__
    caller = getattr(getattr(found, "remote", found), "_caller", None)
    known = getattr(caller, "types", None)
    # One that is looked for by its name itself would be looked for without end.
    return known.types if isinstance(known, StubAnnotations) and known.is_here else None


def annotations_of(
    function: Any, name: str, description: Description, scope: Mapping[str, Any]
) -> StubAnnotations | None:
    """Return the annotations of a stub, to be read at its first call; None where it has none.

    Args:
        function: The stub, whole.
        name: What errors call it.
        description: Its signature, without what is not sent.
        scope: The names where it is defined, beside its module's: those of a function around it.
    """
    annotations = getattr(function, "__annotations__", None)
    if not isinstance(annotations, dict) or not annotations:
        return None
    local = _named_in(annotations, scope)

    def make() -> StubTypes:
        from away.typed_values import StubTypes

        return StubTypes(
            name,
            description.parameters or (),
            annotations,
            lambda: _scope(function, local),
            description.kind,
        )

    qualname = function.__qualname__
    reference = None if "<" in qualname else (function.__module__, qualname)
    return StubAnnotations(make, reference)


def _named_in(annotations: Mapping[str, Any], scope: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of the names around a stub those that its annotations' texts mention, no others."""
    import re

    texts = " ".join(each for each in annotations.values() if isinstance(each, str))
    words = set(re.findall(r"\w+", texts)) if texts and scope else ()
    return {word: scope[word] for word in words if word in scope}


def _scope(function: Any, local: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    parameters = {each.__name__: each for each in getattr(function, "__type_params__", ())}
    return local, parameters, getattr(function, "__globals__", {})
