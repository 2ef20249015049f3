"""Capture: a function becomes a payload, and what cannot travel is refused in words.

Two forms, the first that holds: ``import`` for a function that its module has under its name, which
is then packed as source; ``dill`` for closures, lambdas, methods and all that the running script
defines, which go by value, frozen as they are at that moment. A third one, ``module``, is for the
functions of a module together.

This room knows neither gateways nor images: it takes a function and gives values.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from away.capture.callables import shown_name
from away.capture.captured import Captured
from away.capture.declared_secrets import know_declared_beside
from away.capture.description import refuse_secrets_in, without_suspects
from away.capture.entry import (
    deployment_name,
    entry_of,
    import_path,
    project_root,
    refuse_unbound,
    script_path,
)
from away.capture.included import (
    find_included,
    listed_modules,
    notes_on_files,
    place_of,
    refuse_absent,
)
from away.capture.modules import PackedFile, gather, importable
from away.capture.payload import header, import_body, write
from away.capture.references import find
from away.capture.sources import bounded
from away.capture.values import CapturedValue, Reference
from away.capture.whole_modules import WholeModule, capture_module, whole_module
from away.exceptions import CaptureRefused, NameRefused
from away.requirements import Requirement, listed
from away.secret_texts import known, known_files
from away.signatures import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from os import PathLike
    from pathlib import Path

    from away.capture.included import Place
    from away.capture.modules import Needs
    from away.capture.payload import Form
    from away.capture.values import Pickled

__all__ = [
    "MAX_VALUE_BYTES",
    "Captured",
    "CapturedValue",
    "PackedFile",
    "Reference",
    "Requirement",
    "WholeModule",
    "capture",
    "deployment_name",
    "preview",
    "verify",
    "whole_module",
]

# More than this is data: it belongs into a file of a package, an argument, or a store.
MAX_VALUE_BYTES = 1_000_000

# What a function without a name is called where nothing is published.
_UNNAMED = "function"


def capture(
    function: Callable[..., Any] | WholeModule,
    *,
    safe_args: bool = True,
    name: str | None = None,
    include_dill: bool = False,
    requirements: Sequence[str] = (),
    module_imports: Sequence[str] = (),
    include: Sequence[str | PathLike[str]] = (),
    max_value_bytes: int = MAX_VALUE_BYTES,
    as_imported: bool = False,
) -> Captured:
    """Capture a function for publishing.

    Args:
        function: A function or another callable: a partial, a bound method, a callable object; or a
            module, as :func:`whole_module` gives it.
        safe_args: False if it is to take and give what only pickle can carry.
        name: The name to deploy under; the function's own if it is left out.
        include_dill: True to have dill beside it even where the payload does not need it.
        requirements: Distributions that are needed beside those found, or in place of the versions
            found (PEP 508).
        module_imports: Modules that it imports where nobody sees it, by a name that is computed:
            they are packed or pinned as if it imported them openly.
        include: Files and folders that go along: local packages, data. Relative paths start from
            the folder of the function's file; each lands where it is here, seen from the folder
            that the function's modules are imported from.
        max_value_bytes: The most that one captured value may have.
        as_imported: True to capture a function of the running script as it is captured where the
            script is imported: what ``away publish FILE`` deployed is compared so.

    Returns:
        What travels.

    Raises:
        CaptureRefused: Something cannot travel; the message names the variable and what to do.
        NameRefused: The function has no name that could be deployed under.
    """
    if isinstance(function, WholeModule):
        return capture_module(
            function,
            safe_args=safe_args,
            name=name,
            include_dill=include_dill,
            requirements=requirements,
            module_imports=module_imports,
            include=include,
        )
    if not callable(function):
        kind = type(function).__name__
        raise CaptureRefused(f"only a function can be published, and this is of type {kind}")
    chosen = deployment_name(function, name)
    refuse_unbound(function, safe_args=safe_args)
    know_declared_beside(function)
    secrets = known()
    users = listed(requirements)
    place = place_of(function)
    notes: list[str] = []
    included = find_included(include, place, notes)
    made = _body_of(function, place, secrets, max_value_bytes, as_imported=as_imported)
    by_value = made.by_value
    wanted = {**listed_modules(module_imports), **made.wanted}
    refuse_absent(module_imports)
    needs = gather(wanted, users=users, secrets=secrets, included=included, entry=made.entry)
    calls = _calls_of(function, by_value, needs)
    description = describe(function)
    refuse_secrets_in(description, shown_name(function), secrets)
    description = without_suspects(description)
    head = header(
        form=made.form,
        entry=made.entry,
        name=chosen,
        kind=description.kind,
        safe=safe_args,
        client=calls.client,
        files=needs.files,
        requirements=needs.requirements,
        sources=bounded(by_value.sources) if by_value else {},
    )
    data, identity = write(head, made.body, made.identity_body)
    return Captured(
        entry=made.entry,
        form=made.form,
        name=chosen,
        description=description._replace(entry=made.entry, digest=identity, safe=safe_args),
        payload=data,
        files=needs.files,
        requirements=needs.requirements,
        references=calls.references,
        gateways=calls.gateways,
        values=by_value.values if by_value else (),
        needs_dill=made.form == "dill" or include_dill or not safe_args,
        needs_client=calls.client,
        needs_async_client=calls.client
        and not (calls.surely_sync and not description.kind.startswith("async")),
        identity=identity,
        warnings=(
            *(by_value.warnings if by_value else ()),
            *needs.warnings,
            *notes,
            *_notes(function, by_value, needs, place),
        ),
    )


def preview(function: Callable[..., Any], **options: Any) -> Captured:
    """Show what publishing a function would take along, without publishing anything.

    Args:
        function: The function.
        options: Those of :func:`capture`; a function without a name of its own needs none here.

    Returns:
        What would travel; ``print(preview(function).listing())`` shows it.

    Raises:
        CaptureRefused: As in :func:`capture`.
    """
    try:
        options["name"] = deployment_name(function, options.get("name"))
    except NameRefused:
        options["name"] = _UNNAMED
    return capture(function, **options)


def verify(
    captured: Captured,
    layer_dirs: Sequence[Path],
    *,
    environment: Mapping[str, str] | None = None,
    timeout: float = math.inf,
) -> None:
    """Load what was captured in a clean interpreter, to see that nothing is missing.

    Args:
        captured: What would be published.
        layer_dirs: Folders to import from: Away's own, dill where it is needed, requirements.
        environment: The variables that the function will be given there.
        timeout: Seconds that there are for it; no more than a minute of them counts.

    Raises:
        CaptureRefused: It does not load there; the message says why.
        TimeoutError: It was still loading when ``timeout``, of less than a minute, was over.
    """
    from away.capture import verification

    verification.check(
        captured.payload,
        captured.files,
        layer_dirs,
        environment=environment,
        timeout=timeout,
    )


class _Body(NamedTuple):
    """A function in the form in which it travels."""

    form: Form
    entry: str
    wanted: Mapping[str, str]
    body: bytes
    identity_body: bytes
    by_value: Pickled | None

    def __repr__(self) -> str:
        return f"<_Body {self.entry} by {self.form}, {len(self.body)} bytes>"


def _body_of(
    function: Callable[..., Any],
    place: Place,
    secrets: Iterable[str],
    max_value_bytes: int,
    *,
    as_imported: bool,
) -> _Body:
    """Choose the form, the first that holds, and write the body."""
    found = import_path(function, importable)
    if found is None and as_imported:
        found = script_path(function)
    if found is not None:
        wanted = {found[0]: f"`{shown_name(function)}` is in {found[0]}"}
        body = import_body(*found)
        return _Body("import", ":".join(found), wanted, body, body, None)
    # dill is slow to import, and a function in a module does without it.
    from away.capture.pickler import pickled
    from away.capture.values import Settings

    settings = Settings(
        function=function,
        name=shown_name(function),
        root=project_root(function),
        max_value_bytes=max_value_bytes,
        secrets=tuple(secrets),
        importable=importable,
        modules_root=place.root,
    )
    made = pickled(settings)
    return _Body("dill", entry_of(function), made.modules, made.body, made.identity_body, made)


class _Calls(NamedTuple):
    """The other functions that a function calls, and what of Away it needs for that."""

    references: tuple[Reference, ...]
    gateways: tuple[str, ...]
    client: bool
    surely_sync: bool


def _calls_of(function: Callable[..., Any], by_value: Pickled | None, needs: Needs) -> _Calls:
    """Find what a function calls behind gateways."""
    called = find(by_value.named if by_value else (function,), own=function)
    held = by_value.references if by_value else ()
    # What goes by value is not followed by its names there, but its bodies use connections too, and
    # functions of remote modules by their attributes.
    used = find((function,)) if by_value else called
    of_modules = [each for each in used.references if each.path]
    references = tuple(dict.fromkeys([*held, *called.references, *of_modules]))
    gateways = tuple(sorted({*needs.gateways, *used.gateways}))
    client = needs.client or used.client or bool(references) or called.later
    # Only references say how they are called; of all else that the client is for nothing is known.
    only_sync = bool(references) and all(each.kind == "sync" for each in references)
    surely_sync = only_sync and not (gateways or used.client or called.later)
    return _Calls(references, gateways, client, surely_sync)


def _notes(
    function: Callable[..., Any], by_value: Pickled | None, needs: Needs, place: Place
) -> list[str]:
    """Tell of data files that the code names and that do not go along."""
    texts: list[tuple[str, object]] = list(needs.texts)
    if by_value is not None:
        texts += [(f"`{shown_name(function)}`", each) for each in by_value.texts]
    packed = {each.path for each in needs.files}
    return notes_on_files(texts, (place.folder, place.root), packed, known_files())
