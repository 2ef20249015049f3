"""What was captured: a function, or a module whole, as it will travel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from away.capture.modules import PackedFile
    from away.capture.payload import Form
    from away.capture.values import CapturedValue, Reference
    from away.module_descriptions import ModuleDescription
    from away.requirements import Requirement
    from away.signatures import Description

__all__ = ["Captured"]


class Captured(NamedTuple):
    """A function as it will travel.

    Attributes:
        entry: ``module:qualname``.
        form: ``import`` or ``dill``.
        name: The name to deploy under.
        description: Signature, docstring and kind, with the entry and the digest.
        payload: The header's line and the body.
        files: Source files and data that go along, by their paths below a ``sys.path`` folder.
        requirements: Distributions that are needed, pinned.
        references: Other remote functions that are called.
        gateways: Names of gateways that the code imports from, as ``away.remote.NAME``, or
            connects to, as ``FaasConnection.named(NAME)``.
        values: Values that go along, with their sizes.
        needs_dill: Whether dill is needed beside the function.
        needs_client: Whether Away's client is needed there, to call other functions.
        needs_async_client: Whether some of them may be async.
        identity: A digest of all that changes what the function does; that of a function that only
            moved in its file stays the same.
        warnings: What the user may want to know, a sentence each.
        module: What it has, where it is a module that is published whole.
    """

    entry: str
    form: Form
    name: str
    description: Description
    payload: bytes
    files: tuple[PackedFile, ...]
    requirements: tuple[Requirement, ...]
    references: tuple[Reference, ...]
    gateways: tuple[str, ...]
    values: tuple[CapturedValue, ...]
    needs_dill: bool
    needs_client: bool
    needs_async_client: bool
    identity: str
    warnings: tuple[str, ...]
    module: ModuleDescription | None = None

    def __repr__(self) -> str:
        """Show what it is and nothing of what goes along, where values and sources are."""
        return f"<Captured {self.entry} by {self.form}, {_size(len(self.payload))}>"

    def __str__(self) -> str:
        return self.listing()

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """Show the listing as a notebook's output."""
        printer.text(str(self))

    def listing(self) -> str:
        """Tell in lines of text what goes along: values, files, requirements, references."""
        lines = [f"{self.entry} by {self.form}, {_size(len(self.payload))}"]
        if self.module is not None:
            lines += [f"  function {name}" for name in sorted(self.module.functions)]
            lines += [f"  constant {name}" for name in sorted(self.module.constants)]
        lines += [f"  value {v.name}: {v.type_name}, {_size(v.size)}" for v in self.values]
        lines += [f"  file {f.path}: {_size(len(f.data))}" for f in self.files]
        lines += [f"  requirement {r.spec}: {r.why}" for r in self.requirements]
        lines += [f"  calls {r.place} on {r.url}" for r in self.references]
        lines += [f"  imports from the gateway {name}" for name in self.gateways]
        lines += [f"  note: {each}" for each in self.warnings]
        return "\n".join(lines)


def _size(count: int) -> str:
    return f"{count:,} bytes" if count < 100_000 else f"{count / 1e6:.1f} MB"
