"""The folder of a user's Dockerfile as a container engine is given it.

What ``.dockerignore`` names is left out, a folder that is too large or holds a secret is refused, and
owners and dates of this machine stay here. Nothing in this module talks to an engine.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, NamedTuple

from away.capture.keys import holds_key, is_key_folder, looks_like_key
from away.capture.leaks import line_of_secret
from away.exceptions import PublishFailed
from away.names import printable
from away.secret_texts import declared, known

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Context", "Entry", "Rule", "is_ignored", "is_kept", "read_context", "read_rules"]

IGNORE_FILE = ".dockerignore"
# Beyond this a virtual environment or data was most likely forgotten, and a build takes minutes.
MAX_CONTEXT_BYTES = 200_000_000
MAX_CONTEXT_FILES = 50_000
FILE_TIME = 315532800


class Rule(NamedTuple):
    """A line of ``.dockerignore``: what it names, and whether that is kept after all (``!``)."""

    pattern: re.Pattern[str]
    keeps: bool


class Entry(NamedTuple):
    """What is sent of a path: a file, a folder, or a link by its target."""

    path: str
    mode: int
    size: int
    target: str | None
    is_folder: bool


class Context(NamedTuple):
    """A Dockerfile and what lies beside it.

    Attributes:
        folder: Where it is.
        dockerfile: The Dockerfile's path in it.
        text: What the Dockerfile says.
        entries: What is sent, sorted by path.
    """

    folder: Path
    dockerfile: str
    text: str
    entries: tuple[Entry, ...]

    def identity(self) -> str:
        """Return the hash of all that is sent."""
        total = hashlib.sha256(f"{self.dockerfile}\0".encode())
        for each, data in self.contents():
            head = f"{each.path}\0{each.mode:o}\0{len(data)}\0{each.target or ''}\0"
            total.update(head.encode(errors="surrogateescape"))
            total.update(data)
        return total.hexdigest()

    def contents(self) -> Iterator[tuple[Entry, bytes]]:
        """Give the entries with their bytes, one at a time.

        Raises:
            PublishFailed: A file cannot be read, or holds a secret that this process knows.
        """
        for each in self.entries:
            if each.is_folder or each.target is not None:
                yield each, b""
                continue
            try:
                data = (self.folder / each.path).read_bytes()
            except OSError as error:
                raise refused(
                    f"{printable(each.path)} beside the Dockerfile cannot be read"
                    f" ({error.strerror}); list it in {IGNORE_FILE} if no step needs it"
                ) from error
            self.refuse_secret(each, data)
            yield each, data

    def refuse_secret(self, entry: Entry, data: bytes) -> None:
        """Refuse a file that would carry a password or token into the image."""
        line = line_of_secret(data, python=entry.path.endswith(".py"), secrets=known())
        if line is not None:
            raise refused(
                f"{printable(entry.path)}:{line} beside the Dockerfile holds a password or token"
                f" that this process knows{declared(data)}, and would be sent; list the file in {IGNORE_FILE}, or"
                " take the secret out of it"
            )

    def write(self, target: IO[bytes]) -> None:
        """Write all into an archive, owned by root and with one date."""
        with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for each, data in self.contents():
                member = tarfile.TarInfo(each.path)
                member.mode, member.mtime = each.mode, FILE_TIME
                if each.is_folder:
                    member.type = tarfile.DIRTYPE
                elif each.target is not None:
                    member.type, member.linkname = tarfile.SYMTYPE, each.target
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def read_context(path: Path) -> Context:
    """Read what a Dockerfile's folder would send.

    Args:
        path: The Dockerfile, or a folder that has one.

    Raises:
        PublishFailed: There is no such file, it is no text, or its folder is too large.
    """
    file = path / "Dockerfile" if path.is_dir() else path
    try:
        folder, real = file.parent.resolve(strict=True), file.resolve(strict=True)
        if not real.is_file():
            raise ValueError("it is no regular file")  # a pipe would wait for its writer, for ever
        if not real.is_relative_to(folder):
            # What lies beside it there is not what the user named, and nobody may want it sent.
            raise ValueError(f"it is a link that leads out of its folder, to {real}")
        text = real.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise unreadable(path, "it is no text") from error
    except (OSError, ValueError) as error:
        raise unreadable(path, getattr(error, "strerror", None) or str(error)) from error
    name = real.relative_to(folder).as_posix()
    entries = tuple(sorted(gathered(folder, name, rules_of(folder, file.name))))
    return Context(folder, name, text, entries)


def unreadable(path: Path, why: str) -> PublishFailed:
    """Make the error for a Dockerfile that cannot be read."""
    return refused(
        f"the Dockerfile {printable(str(path))} cannot be read ({printable(why)}); pass its path"
    )


def rules_of(folder: Path, dockerfile: str) -> tuple[Rule, ...]:
    """Read the rules for a Dockerfile: those of its own if it has some, else the folder's."""
    for name in (f"{dockerfile}{IGNORE_FILE}", IGNORE_FILE):
        try:
            return read_rules((folder / name).read_text(encoding="utf-8-sig", errors="replace"))
        except OSError:
            continue
    return ()


def gathered(folder: Path, dockerfile: str, rules: tuple[Rule, ...]) -> Iterator[Entry]:
    """Give what is sent of a folder, until it is too much."""
    total = count = 0
    largest: tuple[int, str] = (0, "")
    for each in walked(folder, "", rules, keep=(dockerfile, IGNORE_FILE)):
        total, count = total + each.size, count + 1
        largest = max(largest, (each.size, each.path))
        if total > MAX_CONTEXT_BYTES or count > MAX_CONTEXT_FILES:
            raise refused(
                f"the Dockerfile's folder {printable(str(folder))} has more than"
                f" {MAX_CONTEXT_BYTES // 1_000_000} MB or {MAX_CONTEXT_FILES:,} files to send"
                f" (the largest seen is {printable(largest[1])}); list what no step needs in"
                f" {IGNORE_FILE}, or move the Dockerfile to a folder of its own"
            )
        yield each


def walked(
    folder: Path, below: str, rules: tuple[Rule, ...], keep: tuple[str, ...]
) -> Iterator[Entry]:
    """Walk a folder and give what is not ignored; links are not followed, devices left out."""
    excepts = any(rule.keeps for rule in rules)
    try:
        found = sorted(os.scandir(folder / below), key=lambda each: each.name)
    except OSError as error:
        raise refused(
            f"{printable(below) or printable(str(folder))} beside the Dockerfile cannot be listed"
            f" ({error.strerror}); list it in {IGNORE_FILE} if no step needs it"
        ) from error
    for each in found:
        path = f"{below}/{each.name}" if below else each.name
        ignored = path not in keep and is_ignored(path, rules)
        if each.is_symlink():
            if not ignored:
                yield Entry(path, 0o777, 0, str(Path(each.path).readlink()), is_folder=False)
        elif each.is_dir():
            if not ignored:
                yield Entry(path, mode_of(each), 0, None, is_folder=True)
            # Something in an ignored folder may be kept after all.
            if not ignored or excepts or any(one.startswith(f"{path}/") for one in keep):
                yield from walked(folder, path, rules, keep)
        elif each.is_file() and not ignored:
            refuse_key(folder, path, rules)
            yield Entry(path, mode_of(each), each.stat().st_size, None, is_folder=False)


def refuse_key(folder: Path, path: str, rules: tuple[Rule, ...]) -> None:
    """Refuse what looks like a key or a login, unless the folder says that it is meant.

    Raises:
        PublishFailed: It does.
    """
    whole = folder / path
    if is_kept(path, rules):
        return
    if looks_like_key(whole) or is_key_folder(PurePosixPath(path)) or holds_key(whole):
        raise refused(
            f"{printable(path)} beside the Dockerfile looks like a key or a login, and would be sent"
            f" to the container engine; list it in {IGNORE_FILE}, or keep it by a line"
            f" !{printable(path)} there"
        )


def mode_of(entry: os.DirEntry[str]) -> int:
    """Return what a file's mode says that matters in an image: whether it can be run."""
    mode = entry.stat(follow_symlinks=False).st_mode
    return 0o755 if entry.is_dir() or mode & stat.S_IXUSR else 0o644


def refused(message: str) -> PublishFailed:
    """Make the error for a Dockerfile or folder that cannot be sent."""
    return PublishFailed(message, step="dockerfile")


# ---------------------------------------------------------------- .dockerignore


def read_rules(text: str) -> tuple[Rule, ...]:
    """Read ``.dockerignore`` (Docker's reference, ".dockerignore file").

    A pattern that makes no sense names nothing.
    """
    found = []
    for raw in text.splitlines():
        line = raw.strip() if not raw.startswith("#") else ""
        keeps = line.startswith("!")
        line = line.removeprefix("!").strip()
        path = os.path.normpath(line).replace(os.sep, "/") if line else ""
        path = path.removeprefix("//").removeprefix("/") if len(path) > 1 else path
        if not path:
            continue
        try:
            found.append(Rule(re.compile(expression(path), re.DOTALL), keeps))
        except re.error:
            continue
    return tuple(found)


def expression(pattern: str) -> str:
    """Translate a pattern of Go's ``filepath.Match``, and Docker's ``**``, to a regular expression."""
    result, at = [], 0
    while at < len(pattern):
        letter = pattern[at]
        at += 1
        if letter == "*" and pattern[at : at + 1] == "*":
            while pattern[at : at + 1] == "*":
                at += 1
            if pattern[at : at + 1] == "/":
                at += 1
            result.append(".*" if at >= len(pattern) else "(?:.*/)?")
        elif letter == "*":
            result.append("[^/]*")
        elif letter == "?":
            result.append("[^/]")
        elif letter == "\\" and at < len(pattern):
            result.append(re.escape(pattern[at]))
            at += 1
        elif letter == "[" and (end := pattern.find("]", at + 1)) > 0:
            inside = pattern[at:end].replace("[", r"\[").replace("&&", r"&\&")
            result.append(f"[{inside}]")
            at = end + 1
        else:
            result.append(re.escape(letter))
    return "".join(result) + r"\Z"


def is_ignored(path: str, rules: Iterable[Rule]) -> bool:
    """Tell whether rules leave a path out; the last one that names it or a folder above decides."""
    parts = path.split("/")
    prefixes = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    ignored = False
    for rule in rules:
        if rule.keeps == ignored and any(rule.pattern.match(each) for each in prefixes):
            ignored = not rule.keeps
    return ignored


def is_kept(path: str, rules: Iterable[Rule]) -> bool:
    """Tell whether the last rule that names a file itself, not only a folder above, keeps it."""
    named = [rule.keeps for rule in rules if rule.pattern.match(path)]
    return bool(named) and named[-1]
