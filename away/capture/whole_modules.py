"""Capturing a module whole: its public functions become one payload, called by their names.

The module is always found by its name where it runs: packed as source if it is the user's, pinned if
it is installed, and there already if it is of the standard library. Nothing of it goes by value.
"""

from __future__ import annotations

import importlib
import types
from typing import TYPE_CHECKING, Any

from away.capture.callables import MAIN_NAMES
from away.capture.captured import Captured
from away.capture.declared_secrets import know_declared_of
from away.capture.description import refuse_secret_constant, refuse_secrets_in, without_suspects
from away.capture.included import (
    find_included,
    listed_modules,
    notes_on_files,
    place_of_module,
    refuse_absent,
)
from away.capture.modules import gather, importable
from away.capture.payload import header, module_body, write
from away.capture.public_names import public_names
from away.capture.references import find
from away.exceptions import CaptureRefused
from away.module_descriptions import ModuleDescription
from away.names import function_name, printable
from away.requirements import listed
from away.secret_texts import known, known_files
from away.signatures import Description, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from os import PathLike
    from types import ModuleType

    from away.capture.modules import Needs
    from away.capture.references import Found

__all__ = ["WholeModule", "capture_module", "whole_module"]


class WholeModule:
    """A module that is to be published whole: the public functions of it, or those named.

    Attributes:
        module: The module.
        functions: The functions by their names.
        constants: The public constants that are safe values.
        notes: What was left out, a sentence each.
    """

    def __init__(
        self, module: ModuleType, functions: Iterable[str] | None = None, *, written: str = ""
    ) -> None:
        self.module = module
        self.functions: dict[str, Callable[..., Any]]
        self.functions, self.constants, self.notes = public_names(module, functions)
        # What it is called where no name is given: as an import from its package would bind it.
        self.__name__ = (written or module.__name__).rpartition(".")[2]

    @property
    def entry(self) -> str:
        """What stands at the gateway for where it is from."""
        return f"{self.module.__name__}:*"

    def description(self, *, safe_args: bool = True) -> ModuleDescription:
        """Describe it: its functions with signatures and docstrings, and its constants."""
        functions = {
            name: describe(each)._replace(safe=safe_args, entry=f"{self.module.__name__}:{name}")
            for name, each in self.functions.items()
        }
        return ModuleDescription(functions, dict(self.constants), _doc(self.module), self.entry)


def whole_module(module: ModuleType | str, functions: Iterable[str] | None = None) -> WholeModule:
    """Choose what of a module is to be published.

    Args:
        module: The module, or its dotted name.
        functions: The functions to publish; all public ones if it is left out.

    Raises:
        CaptureRefused: It has none, one that is named cannot be remote, or the module is the running
            script, which cannot be imported elsewhere.
        ImportError: There is no module of that name.
    """
    if isinstance(functions, str):
        raise TypeError("functions= is a list of names, not one text")
    written = ""
    if isinstance(module, str):
        # As it was written: os.path is called posixpath by itself.
        written, module = module, importlib.import_module(module)
    if not isinstance(module, types.ModuleType):
        raise TypeError(
            f"what is published whole is a module or its name, not {type(module).__name__}"
        )
    name = module.__name__
    if name in MAIN_NAMES:
        raise CaptureRefused(
            "the running script is no module that could be imported where it runs; move its functions"
            " into a file of their own, or publish them one by one",
            path=name,
        )
    if not importable(name):
        raise CaptureRefused(
            f"the module {printable(name)} is no file that could be packed and no distribution that"
            " could be installed; publish its functions one by one",
            path=name,
        )
    return WholeModule(module, functions, written=written)


def capture_module(
    whole: WholeModule,
    *,
    safe_args: bool = True,
    name: str | None = None,
    include_dill: bool = False,
    requirements: Sequence[str] = (),
    module_imports: Sequence[str] = (),
    include: Sequence[str | PathLike[str]] = (),
) -> Captured:
    """Capture a module whole; the options are those of :func:`away.capture.capture`."""
    module = whole.module
    know_declared_of(module)
    secrets = known()
    chosen = function_name(name if name is not None else whole.__name__)
    place = place_of_module(module)
    notes: list[str] = []
    included = find_included(include, place, notes)
    refuse_absent(module_imports)
    wanted = {**listed_modules(module_imports), module.__name__: f"{module.__name__} is published"}
    needs = gather(wanted, users=listed(requirements), secrets=secrets, included=included)
    called = find(whole.functions.values())
    described = whole.description(safe_args=safe_args)
    refuse_secrets(described, module.__name__, secrets)
    told = {name: without_suspects(each) for name, each in described.functions.items()}
    described = described._replace(functions=told)
    client = needs.client or called.client or bool(called.references) or called.later
    kinds = {each.kind for each in described.functions.values()}
    is_async = any(kind.startswith("async") for kind in kinds)
    head = header(
        form="module",
        entry=whole.entry,
        name=chosen,
        # Asyncio is started ahead where a function is async.
        kind="async" if is_async else "sync",
        safe=safe_args,
        client=client,
        files=needs.files,
        requirements=needs.requirements,
        sources={},
    )
    body = module_body(module.__name__, whole.functions)
    data, identity = write(head, body, body)
    packed = {each.path for each in needs.files}
    beside = notes_on_files(needs.texts, (place.folder, place.root), packed, known_files())
    return Captured(
        entry=whole.entry,
        form="module",
        name=chosen,
        description=Description(
            doc=described.doc, entry=whole.entry, digest=identity, safe=safe_args
        ),
        payload=data,
        files=needs.files,
        requirements=needs.requirements,
        references=tuple(called.references),
        gateways=tuple(sorted({*needs.gateways, *called.gateways})),
        values=(),
        needs_dill=include_dill or not safe_args,
        needs_client=client,
        needs_async_client=client and (is_async or not _surely_sync(needs, called)),
        identity=identity,
        warnings=(*whole.notes, *needs.warnings, *notes, *beside),
        module=described,
    )


def _surely_sync(needs: Needs, called: Found) -> bool:
    """Tell whether all that is called is known, and none of it async."""
    only_sync = bool(called.references) and all(each.kind == "sync" for each in called.references)
    return only_sync and not (needs.gateways or called.gateways or called.client or called.later)


def refuse_secrets(module: ModuleDescription, name: str, secrets: Collection[str]) -> None:
    """Refuse a signature, a docstring or a constant with a secret that this process knows."""
    refuse_secrets_in(Description(doc=module.doc), name, secrets)
    for function, description in module.functions.items():
        refuse_secrets_in(description, function, secrets)
    for constant, value in module.constants.items():
        refuse_secret_constant(constant, value, name, secrets)


def _doc(module: ModuleType) -> str:
    import inspect

    return inspect.getdoc(module) or ""
