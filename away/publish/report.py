"""What a dry run found out: a report that people read as lines and programs as JSON.

It only tells; what it tells of is :mod:`away.publish.dry_run`'s to find out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from away.publish.progress import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from away.capture import Captured
    from away.capture.suspects import Suspect
    from away.publish.deployment import Standing

__all__ = ["LayerReport", "Report", "RequirementReport"]


class LayerReport(NamedTuple):
    """A layer of the image.

    Attributes:
        part: What it brings.
        files: How many files.
        size: Its bytes, as they are uploaded where the registry lacks them.
    """

    part: str
    files: int
    size: int


class RequirementReport(NamedTuple):
    """A distribution that the function needs.

    Attributes:
        name: Its name.
        version: Its version; an empty text where that is not known before it is resolved.
        where: ``packed``, or ``in the base image``; an empty text where that is not known.
        why: What needs it.
    """

    name: str
    version: str
    where: str
    why: str


class Report(NamedTuple):
    """What publishing a function would do.

    Attributes:
        captured: The function as it would travel.
        gateway: The gateway's URL.
        standing: How what it has under the name stands to the function; None where it is not known.
        would: The same as a clause: ``would be created``.
        image: The image's name.
        builder: How it would be made.
        base: The image that it stands on.
        below: What is known of that, as a clause; an empty text where nothing is.
        layers: The layers on it, the lowest first.
        requirements: The distributions that the function needs, and what those need.
        left_out: Files beside those packed that do not go along.
        suspects: What looks like a secret; never the value.
        request: The deploy request, without what Away writes in it, and without such values.
        secrets: The function's secrets, each with what would come of it.
        notes: What the user may want to know, and what could not be found out.
    """

    captured: Captured
    gateway: str
    standing: Standing | None
    would: str
    image: str
    builder: str
    base: str
    below: str
    layers: tuple[LayerReport, ...]
    requirements: tuple[RequirementReport, ...]
    left_out: tuple[str, ...]
    suspects: tuple[Suspect, ...]
    request: dict[str, Any]
    secrets: dict[str, str]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        """Show what it is and nothing of what is captured; ``print`` shows the listing."""
        return f"<Report {self.captured.name} on {self.gateway}: {self.would}>"

    def __str__(self) -> str:
        return self.listing()

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """Show the listing as a notebook's output."""
        printer.text(str(self))

    def listing(self) -> str:
        """Tell all of it in lines of text."""
        captured = self.captured
        below = f", {self.below}" if self.below else ""
        size = f"payload of {size_of(len(captured.payload))}"
        lines = [
            f"{captured.name}: {captured.entry} by {captured.form}, {size}",
            f"  gateway      {self.gateway}: {self.would}",
            f"  image        {self.image}, by the image builder {self.builder!r}",
            f"  base image   {self.base}{below}",
        ]
        lines += [f"  layer        {said(each)}" for each in self.layers]
        lines += [f"  requirement  {said(each)}" for each in self.requirements]
        if captured.module is not None:
            lines += [f"  function     {name}" for name in sorted(captured.module.functions)]
            lines += [f"  constant     {name}" for name in sorted(captured.module.constants)]
        lines += [f"  value        {said(each)}" for each in captured.values]
        lines += [
            f"  file         {each.path}: {size_of(len(each.data))}" for each in captured.files
        ]
        lines += [f"  left out     {each}" for each in self.left_out]
        lines += [f"  calls        {each.place} on {each.url}" for each in captured.references]
        lines += [f"  imports from the gateway {each}" for each in captured.gateways]
        lines += [f"  option       {key}: {value}" for key, value in plain(self.request)]
        lines += [f"  secret       {name}: {state}" for name, state in self.secrets.items()]
        lines += [f"  looks like a secret: {each.where}, {each.what}" for each in self.suspects]
        return "\n".join([*lines, *(f"  note: {each}" for each in self.notes)])

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as what JSON knows."""
        captured = self.captured
        return {
            "name": captured.name,
            "entry": captured.entry,
            "form": captured.form,
            "bytes": len(captured.payload),
            "gateway": self.gateway,
            "standing": self.standing.value if self.standing else None,
            "would": self.would,
            "image": self.image,
            "builder": self.builder,
            "base": {"image": self.base, "about": self.below},
            "layers": [each._asdict() for each in self.layers],
            "requirements": [each._asdict() for each in self.requirements],
            "values": [
                {"name": each.name, "type": each.type_name, "bytes": each.size}
                for each in captured.values
            ],
            "files": [{"path": each.path, "bytes": len(each.data)} for each in captured.files],
            "left_out": list(self.left_out),
            "calls": [each._asdict() for each in captured.references],
            "gateways": list(captured.gateways),
            "request": self.request,
            "secrets": self.secrets,
            "suspects": [each._asdict() for each in self.suspects],
            "notes": list(self.notes),
        }


def plain(request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give a deploy request's options as lines: name and value."""
    for key, value in request.items():
        if key in ("service", "image") or not value:
            continue
        if isinstance(value, dict):
            yield key, ", ".join(f"{name}={text}" for name, text in value.items())
        else:
            yield key, ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def said(each: Any) -> str:
    """Put one line of the listing into words."""
    if isinstance(each, LayerReport):
        return (
            f"{each.part}: {each.files} file{'' if each.files == 1 else 's'}, {size_of(each.size)}"
        )
    if isinstance(each, RequirementReport):
        return ", ".join(filter(None, (f"{each.name} {each.version}".strip(), each.where))) + (
            f": {each.why}"
        )
    return f"{each.name}: {each.type_name}, {size_of(each.size)}"
