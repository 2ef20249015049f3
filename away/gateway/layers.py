"""One layer of an image: a tar from anywhere, unpacked so that nothing of it leaves its folder."""

from __future__ import annotations

import compileall
import copy
import errno
import gzip
import hashlib
import json
import os
import posixpath
import shutil
import tarfile
import tempfile
import zlib
from importlib.util import cache_from_source
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["LayerRefused", "check_links", "own_filter", "unpack"]

# A laptop's worth: numpy and all of its friends unpack to some 500 MB.
MAX_LAYER_BYTES = 4 * 1024**3
MAX_ENTRIES = 200_000
# One read of a header's extension (a long name, PAX records): the tar says how long it is.
MAX_HEADER_BYTES = 1 << 20
# Below this much source a layer is compiled when it is unpacked, for every function that shares it.
MAX_COMPILED_BYTES = 1 << 20
# How many links a path may go through (path_resolution(7)).
MAX_LINKS = 40

_PLAIN = ("application/vnd.oci.image.layer.v1.tar",)
_GZIPPED = (
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
)
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


class LayerRefused(Exception):
    """A layer that is not unpacked; the text says why, in one clause."""


def unpack(blob: Path, media_type: str, diff_id: str, folder: Path) -> None:
    """Unpack a layer: its files into ``tree``, what it removes from lower ones into a list.

    Args:
        blob: The layer's blob, its own digest verified already.
        media_type: As the manifest says.
        diff_id: The digest that the uncompressed tar must have.
        folder: Where to unpack; it is made.

    Raises:
        LayerRefused: It is not what it says, leads out of the folder, or is over a limit.
    """
    tree = folder / "tree"
    tree.mkdir(parents=True)
    with _uncompressed(blob, media_type, diff_id) as file:
        try:
            with tarfile.open(fileobj=_Bounded(file), mode="r:") as tar:  # type: ignore[call-overload]
                removed = _extract(tar, tree)
            check_links(tree)
        except RecursionError as error:
            # tarfile reads a header that belongs to another header by calling itself.
            raise LayerRefused("too many of its headers belong to one file") from error
        except (tarfile.TarError, OSError, ValueError, KeyError, OverflowError) as error:
            # ValueError for a name that is no text, KeyError for a link to nothing.
            raise LayerRefused(str(error) or type(error).__name__) from error
    (folder / "removed.json").write_text(json.dumps(removed))
    _compile(tree)


def own_filter(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """Apply the rules of tarfile's ``data`` filter (PEP 706), for Pythons that have none yet.

    Raises:
        LayerRefused: The member is one that the filter refuses.
    """
    safe = copy.copy(member)
    safe.name = member.name.lstrip("/" + os.sep)
    _check_inside(folder, safe.name, member.name)
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise LayerRefused(f"{member.name!r} is a device or a pipe")
    if member.isreg() or member.islnk():
        # Executable for all or for none, never writable for others.
        mode = member.mode & 0o755 if member.mode & 0o100 else member.mode & 0o644
        safe.mode = mode | 0o600
    else:
        safe.mode = 0o755
    if member.issym() or member.islnk():
        safe.linkname = posixpath.normpath(member.linkname)
        if posixpath.isabs(safe.linkname):
            raise LayerRefused(f"{member.name!r} links to the absolute path {safe.linkname!r}")
        base = posixpath.dirname(safe.name) if member.issym() else ""
        _check_inside(folder, posixpath.join(base, safe.linkname), member.name)
    return safe


def check_links(root: Path) -> None:
    """See that no symbolic link in a folder leads out of it, over however many others.

    What the filter knew of a link may have changed since: other links came, or it was linked to from
    another place. Links are followed by hand, as far as they can be: what resolves paths for us stops
    at a path that is too long, and takes the rest of it as it stands.

    Raises:
        LayerRefused: One leads out, or through too many others to tell.
    """
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(folder, name)  # noqa: PTH118 - for every file of an image
            if os.path.islink(path) and _leads_out(str(root), path):  # noqa: PTH114
                raise LayerRefused(f"{os.path.relpath(path, root)!r} leads out of the image")


def _leads_out(root: str, link: str) -> bool:
    # The link's folder is a real one, since links are not walked through.
    here = [each for each in os.path.relpath(link, root).split("/")[:-1] if each != "."]
    ahead = [os.path.basename(link)]  # noqa: PTH119
    followed = 0
    while ahead:
        part = ahead.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not here:
                return True
            here.pop()
            continue
        try:
            target = os.readlink("/".join((root, *here, part)))  # noqa: PTH115
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
                return True
            here.append(part)  # no link
            continue
        followed += 1
        if followed > MAX_LINKS or target.startswith("/"):
            return True
        ahead += reversed(target.split("/"))
    return False


def _check_inside(folder: str, name: str, shown: str) -> None:
    root = os.path.realpath(folder)
    found = os.path.realpath(os.path.join(root, name))  # noqa: PTH118
    if os.path.commonpath([root, found]) != root:
        raise LayerRefused(f"{shown!r} leads out of the image")


class _Bounded:
    """A file that refuses reads which only a lying header asks for."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if size > MAX_HEADER_BYTES:
            raise LayerRefused(f"a header in it claims to be {size} bytes long")
        return self._file.read(size)


def _uncompressed(blob: Path, media_type: str, diff_id: str) -> IO[bytes]:
    if media_type in _PLAIN:
        file: IO[bytes] = blob.open("rb")
        pieces = iter(lambda: file.read(1 << 20), b"")
        target: IO[bytes] | None = None
    elif media_type in _GZIPPED:
        file = tempfile.TemporaryFile(dir=blob.parent.parent)  # noqa: SIM115 - returned
        pieces, target = _gunzipped(blob), file
    else:
        kind = "zstd, which" if media_type.endswith("zstd") else f"{media_type!r}, which"
        raise LayerRefused(f"it is {kind} this gateway does not read: push it as tar or gzip")
    try:
        _check(pieces, target, diff_id)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def _gunzipped(blob: Path) -> Iterator[bytes]:
    try:
        with gzip.open(blob) as file:
            while piece := file.read(1 << 20):
                yield piece
    except (OSError, EOFError, zlib.error) as error:
        raise LayerRefused(f"it is not whole gzip ({error})") from error


def _check(pieces: Iterator[bytes], target: IO[bytes] | None, diff_id: str) -> None:
    size, digest = 0, hashlib.sha256()
    for piece in pieces:
        size += len(piece)
        if size > MAX_LAYER_BYTES:
            raise LayerRefused(f"it unpacks to more than {MAX_LAYER_BYTES} bytes")
        digest.update(piece)
        if target is not None:
            target.write(piece)
    if f"sha256:{digest.hexdigest()}" != diff_id:
        raise LayerRefused(f"its content is not the {diff_id[:19]}… that the image's config names")


def _extract(tar: tarfile.TarFile, tree: Path) -> list[str]:
    """Extract every member and return what the layer's whiteouts remove."""
    removed: list[str] = []
    extract = _extractor(tar, tree)
    size = 0
    for count, member in enumerate(tar, 1):
        size += max(0, member.size)
        if count > MAX_ENTRIES or size > MAX_LAYER_BYTES:
            raise LayerRefused(f"it has more than {MAX_ENTRIES} entries or {MAX_LAYER_BYTES} bytes")
        name = posixpath.normpath(member.name.lstrip("/"))
        if name == ".":
            continue
        if "\0" in name or ".." in name.split("/"):
            raise LayerRefused(f"{member.name!r} leads out of the image")
        last = posixpath.basename(name)
        if last.startswith(_WHITEOUT):
            removed += _removed_by(posixpath.dirname(name), last)
            continue
        _clear_the_way(tree, name, member)
        if member.islnk():
            _check_hard_link(tree, name, member)
        extract(member)
    return removed


def _removed_by(folder: str, last: str) -> list[str]:
    if last == _OPAQUE:
        return [folder + "/"] if folder else []
    name = last.removeprefix(_WHITEOUT)
    # ".wh..wh.…" is bookkeeping of one old file system; "." and ".." name nothing.
    return (
        []
        if name.startswith(_WHITEOUT) or name in ("", ".", "..")
        else [posixpath.join(folder, name)]
    )


def _clear_the_way(tree: Path, name: str, member: tarfile.TarInfo) -> None:
    """See that a member's folders are folders of this tree, and that nothing stands in its place.

    Stricter than the filter: no member is written through a link, which is how such filters have
    been got around.
    """
    path = tree
    for part in name.split("/")[:-1]:
        path = path / part
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise LayerRefused(f"{member.name!r} is below a link or a file of the same layer")
    path = tree / name
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir() and not member.isdir():
        shutil.rmtree(path)


def _check_hard_link(tree: Path, name: str, member: tarfile.TarInfo) -> None:
    """See that a hard link is one to a file, which stands in this tree under its own name.

    One to a symbolic link would be that link in another folder, where it leads elsewhere; for one to
    nothing tarfile would look for an earlier member, and unpack that without asking the filter.
    """
    target = posixpath.normpath(member.linkname)
    path = tree
    for part in target.split("/"):
        path = path / part
        if part == ".." or path.is_symlink():
            raise LayerRefused(f"{member.name!r} links to what leads out, or to a link")
    if posixpath.isabs(target) or target == name or not path.is_file():
        raise LayerRefused(f"{member.name!r} links to {member.linkname!r}, which is no file of it")


def _extractor(tar: tarfile.TarFile, tree: Path) -> Callable[[tarfile.TarInfo], None]:
    folder = str(tree)
    data_filter = getattr(tarfile, "data_filter", None)
    if data_filter is None:  # 3.11.0 to 3.11.3

        def extract(member: tarfile.TarInfo) -> None:
            tar.extract(_readable(own_filter(member, folder)), folder)

    else:

        def extract(member: tarfile.TarInfo) -> None:
            if (safe := data_filter(member, folder)) is not None:
                tar.extract(_readable(safe), folder, filter="fully_trusted")

    return extract


def _readable(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Take the right to write from files: they are shared by every image with this layer."""
    changed = copy.copy(member)
    if member.isreg():
        changed.mode = ((member.mode or 0o644) & 0o555) | 0o444
    elif member.isdir():
        changed.mode = 0o755
    # As the data filter: the owner is who unpacks.
    changed.uid, changed.gid = os.getuid(), os.getgid()
    changed.uname = changed.gname = ""
    return changed


def _compile(tree: Path) -> None:
    sources = list(tree.rglob("*.py"))
    if not sources or sum(each.lstat().st_size for each in sources) > MAX_COMPILED_BYTES:
        return
    for each in sources:
        made = Path(cache_from_source(str(each)))
        # What is compiled goes into a folder beside its source, and not where a link leads; what
        # the image brings compiled is run as it is, as in a container.
        if not made.parent.is_symlink() and not os.path.lexists(made):
            compileall.compile_file(str(each), quiet=2)
