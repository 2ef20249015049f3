"""Remote modules: the functions of a module that was published whole, as a module.

A :class:`RemoteModule` gives out its functions as :class:`~away.functions.RemoteFunction` and the
constants that it was published with. It is the same kind whether an import made it or
:func:`away.builder.publish_module`, which need no configured name of the gateway. How imports find it
is the hook's.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any, NamedTuple

import away.names as names
import away.signatures as signatures
from away.calls import Dialect
from away.exceptions import FunctionNotFound
from away.functions import RemoteFunction
from away.functions import resolve as resolve_function

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from away.connection import FaasConnection
    from away.connection.catalogue import FunctionInfo
    from away.module_descriptions import ModuleDescription

__all__ = [
    "CONTENT",
    "ModuleContent",
    "NoSuchMember",
    "Place",
    "RemoteModule",
    "content_of",
    "from_module_info",
    "make",
    "resolve",
]

# Where a module's dictionary keeps the owner of its functions.
CONTENT = "__away_module__"
_MACHINERY = (CONTENT, "__getattr__", "__dir__", "__all__")
# So many names fit an error that a person still reads.
_MOST_NAMES = 10


class NoSuchMember(FunctionNotFound, AttributeError):
    """An attribute of a remote module that it does not have."""

    def __init__(self, message: str = "", *, name: str | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        # With a name and without the object the interpreter adds no suggestion of its own.
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the name, which AttributeError keeps outside the instance's dictionary."""
        return _rebuild, (self.args, self.name, dict(self.__dict__))


def _rebuild(args: tuple[str, ...], name: str | None, fields: dict[str, Any]) -> NoSuchMember:
    return NoSuchMember(*args, name=name, **fields)


class Place(NamedTuple):
    """Where a remote module is: the gateway, the namespace and the function that it is there."""

    connection: FaasConnection
    namespace: str
    name: str


class ModuleContent:
    """What one remote module gives out; the owner of its functions.

    Args:
        content: The module's dictionary, in which functions are kept once they were asked for.
        place: Where the module is.
        description: What it has; None where nobody could be asked, as in a published function: then
            each name is taken for a function of it.
        module_name: The ``__module__`` of its functions.
        manner: What else its functions are made with, as keywords of :class:`RemoteFunction`.
        aio: True to give coroutine functions of all.
        originals: The local functions that were published, by their names.
    """

    def __init__(
        self,
        content: dict[str, Any],
        place: Place,
        description: ModuleDescription | None,
        *,
        module_name: str,
        manner: Mapping[str, Any] | None = None,
        aio: bool = False,
        originals: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self._content = content
        self.place = place
        self.description = description
        self.module_name = module_name
        self.manner = dict(manner or {})
        self._aio = aio
        self._originals = dict(originals or {})
        self._functions: dict[str, RemoteFunction[..., Any]] = {}
        self._fill()

    def _fill(self) -> None:
        """Put into the module what is known without making a function."""
        content, known = self._content, self.description
        content[CONTENT] = self
        content["__getattr__"] = self.attribute
        content["__dir__"] = self.names
        if known is None:
            return
        content["__all__"] = known.names
        content["__doc__"] = known.doc or None
        content.update(known.constants)

    def take_on(
        self,
        place: Place,
        description: ModuleDescription | None,
        renew: Callable[[RemoteFunction[..., Any], RemoteFunction[..., Any]], None],
    ) -> None:
        """Become what the module is now.

        Args:
            place: Where it is.
            description: What it has.
            renew: Gives a function in hand the state of the one that it is now.
        """
        if (place, description) == (self.place, self.description):
            return
        for name in self.description.names if self.description else ():
            self._content.pop(name, None)
        self.place, self.description = place, description
        self._fill()
        for name, function in self._functions.items():
            if description is None or name in description.functions:
                renew(function, self._make(name))

    def remembered(
        self, remember: Callable[[dict[str, RemoteFunction[..., Any]]], Callable[[], None]]
    ) -> Callable[[], None]:
        """Remember what the module is now; what is returned puts it back, after a test's fake.

        Args:
            remember: Does so for the functions in hand.
        """
        functions = remember(self._functions)
        place, description, content = self.place, self.description, dict(self._content)

        def put_back() -> None:
            for name in (*(self.description.names if self.description else ()), "__all__"):
                self._content.pop(name, None)
            self.place, self.description = place, description
            self._content.update(content)
            functions()

        return put_back

    # ------------------------------------------------------------ what Python asks

    def attribute(self, name: str) -> Any:
        """Stand in the module as ``__getattr__`` (PEP 562)."""
        if name.startswith("_"):
            raise AttributeError(
                f"module {self.module_name!r} has no attribute {name!r}", name=name
            )
        if not self.has(name):
            raise self.missing(name, NoSuchMember)
        found = self._content[name] = self.member(name)
        return found

    def names(self) -> list[str]:
        """Stand in the module as ``__dir__`` (PEP 562)."""
        fixed = (name for name in self._content if name not in _MACHINERY)
        return sorted({*fixed, *(self.description.names if self.description else ())})

    def has(self, name: str) -> bool:
        """Tell whether the module has a function or constant of that name, as far as is known."""
        known = self.description
        return known is None or name in known.functions or name in known.constants

    def member(self, name: str) -> Any:
        """Return a constant, or the one function of that name."""
        known = self.description
        if known is not None and name in known.constants:
            return known.constants[name]
        found = self._functions.get(name)
        if found is None:
            # Whoever is second throws its own away: setdefault is atomic.
            found = self._functions.setdefault(name, self._make(name))
        return found

    def _make(self, name: str) -> RemoteFunction[..., Any]:
        connection, namespace, function_name = self.place
        known = self.description.functions[name] if self.description else None
        kind = known.kind if known else self._kind_inside(name)
        return RemoteFunction(
            connection,
            function_name,
            namespace=namespace,
            kind=signatures.async_kind(kind) if self._aio else kind,
            description=known,
            python_name=name,
            module=self.module_name,
            dialect=Dialect.PROTOCOL,
            path=name,
            local=self._originals.get(name),
            **self.manner,
        )

    def _kind_inside(self, name: str) -> signatures.Kind:
        """Return the kind that publishing told a function which calls another one."""
        gateway = self.place.connection.name or ""
        path = f"{self.place.name}/{name}"
        return signatures.kind_inside(gateway, path) or "sync"

    def missing(self, name: str, kind: type[FunctionNotFound]) -> FunctionNotFound:
        """Make the error for a name that the module does not have."""
        known = self.description.names if self.description else []
        near = tuple(names.nearest(name, known))
        ordered = [*near, *(each for each in known if each not in near)]
        more = len(ordered) - _MOST_NAMES
        shown = ", ".join(ordered[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
        url = self.place.connection.url
        what = f"has no {names.printable(name)!r}" if name else "is itself no function"
        error = kind(
            f"the module {self.place.name!r} on {url} {what}; it has {shown or 'nothing'}",
            gateway=url,
            function=self.place.name,
            nearest=near,
        )
        if isinstance(error, NoSuchMember):
            error.name = name
        return error


class RemoteModule(types.ModuleType):
    """The functions of a module that was published whole, called by attributes or ``module['f']``.

    Its constants are those that it was published with. What else it has stays where it runs: its state
    is that of a replica, and classes are not remote.
    """

    def __getitem__(self, name: str) -> Any:
        """Return the function or constant of that name.

        Raises:
            FunctionNotFound: The module has none.
        """
        content = content_of(self)
        if not isinstance(name, str):
            raise TypeError(f"a function's name is a text, not {type(name).__name__}")
        if not content.has(name):
            raise content.missing(name, FunctionNotFound)
        return content.member(name)

    @property
    def function_name(self) -> str:
        """The name of the gateway's function that the module is."""
        return content_of(self).place.name

    def __repr__(self) -> str:
        place = content_of(self).place
        name = f"{place.name}.{place.namespace}" if place.namespace else place.name
        return f"<remote module {self.__name__!r} ({name} on {place.connection.url})>"

    def _repr_html_(self) -> str:
        """Show the functions in a notebook, as a table."""
        from away.notebook import members_html

        content = content_of(self)
        url = f"{content.place.connection.url}/function/{content.place.name}"
        return members_html(self.__name__, url, content.description)

    def _ipython_key_completions_(self) -> list[str]:
        """List what can stand between the brackets, for a notebook's tab key."""
        known = content_of(self).description
        return known.names if known is not None else []

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle to a reference: the name of an imported one, else where it is and what it has."""
        if sys.modules.get(self.__name__) is self:
            # A mounted one brings its mount along.
            reference = getattr(self.__loader__, "reference", None)
            return reference or (importlib.import_module, (self.__name__,))
        content = content_of(self)
        connection, namespace, name = content.place
        known = content.description
        if known is not None:
            # As of a function: a digest would make whoever holds the module another with each publish.
            bare = {key: each._replace(digest="") for key, each in known.functions.items()}
            known = known._replace(functions=bare)
        return resolve, (connection.url, namespace, name, self.__name__, known, content.manner)

    def __away_functions__(self) -> list[RemoteFunction[..., Any]]:
        """All of its functions, for capture, which has to know whom a function calls."""
        content = content_of(self)
        known = content.description.functions if content.description else ()
        return [content.member(name) for name in sorted(known)]

    def __copy__(self) -> RemoteModule:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> RemoteModule:
        return self


def content_of(module: types.ModuleType) -> ModuleContent:
    """Return the owner of a remote module's functions."""
    content = module.__dict__[CONTENT]
    assert isinstance(content, ModuleContent), "whoever made the module put it there"
    return content


def make(
    module_name: str,
    place: Place,
    description: ModuleDescription | None,
    *,
    manner: Mapping[str, Any] | None = None,
    originals: Mapping[str, Callable[..., Any]] | None = None,
) -> RemoteModule:
    """Make a remote module that no import made.

    Args:
        module_name: The ``__name__`` to show.
        place: Where it is.
        description: What it has.
        manner: What else its functions are made with.
        originals: The local functions that were published, by their names.
    """
    module = RemoteModule(module_name)
    ModuleContent(
        module.__dict__,
        place,
        description,
        module_name=module_name,
        manner=manner,
        originals=originals,
    )
    return module


def from_module_info(
    connection: FaasConnection, info: FunctionInfo, name: str
) -> RemoteFunction[..., Any]:
    """Make the proxy of one function of a module that the gateway lists.

    Args:
        connection: The gateway's connection.
        info: The module as listed.
        name: The function's name in it.

    Raises:
        FunctionNotFound: The module has none of that name.
    """
    place = Place(connection, connection.namespace, info.name)
    module = make(names.python_name(info.name), place, info.module)
    found = module[name]
    if not isinstance(found, RemoteFunction):
        raise content_of(module).missing(name, FunctionNotFound)
    return found


def resolve(
    url: str,
    namespace: str,
    name: str,
    module_name: str,
    description: ModuleDescription | None,
    manner: Mapping[str, Any],
) -> RemoteModule:
    """Make the module that a reference stands for, with this process's own configuration.

    Args:
        url: The gateway's URL; see :func:`away.functions.resolve`.
        namespace: The OpenFaaS namespace, or an empty string.
        name: The name of the gateway's function.
        module_name: The ``__name__`` to show.
        description: What it has.
        manner: What else its functions are made with.
    """
    place = Place(resolve_function(url, namespace, name).connection, namespace, name)
    return make(module_name, place, description, manner=manner)
