"""What a Python file declares for publishing, ``away publish FILE[:FUNCTION]``, or a module whole.

The file or module is imported with ``AWAY_PUBLISH=never``, so that its decorators deploy nothing; what they
would have published is then published once, by the command.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

from away.arguments import Usage
from away.exceptions import AwayError, FunctionNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import ModuleType

    from away.connection import FaasConnection
    from away.publish_mode import Declared

__all__ = ["FileFailed", "module_publication", "publications"]


class FileFailed(Exception):
    """A user's file raised as it was imported; the text says where and what."""


def publications(path: Path, function: str, at: FaasConnection | None) -> list[Declared]:
    """Import a file and list the functions that it declares, or the one named.

    Args:
        path: The file.
        function: The one to publish, or an empty string for all that are decorated.
        at: The gateway for a function without a decorator; ``default`` if it is None.

    Returns:
        The functions with their gateways and options; nothing was sent for any of them.

    Raises:
        Usage: There is nothing to publish, or no function of that name.
        FileFailed: The file raised.
    """
    from away.connection import FaasConnection
    from away.publish import know_secrets
    from away.publish_mode import Declared, declared

    before = len(declared)
    with _declaring():
        module = _import_file(path)
    # Also those of functions that are not asked for: each is published with the whole file.
    know_secrets((each.function, each.faas, each.options) for each in declared[before:])
    chosen = [
        each
        for each in declared[before:]
        if not function or getattr(each.function, "__name__", "") == function
    ]
    if chosen and at is not None:
        raise Usage(
            "--gateway is for a function without a decorator, which names its gateway; let the file"
            " choose it by FaasConnection.named(os.environ[…])"
        )
    if chosen:
        return chosen
    if not function:
        raise Usage(
            f"{path.name} decorates no function with builder.publish; name one FILE:FUNCTION, or"
            f" publish it whole by away publish {'.'.join(_module_parts(path)[1])}"
        )
    local = getattr(module, function, None)
    if not callable(local):
        raise Usage(f"{path.name} has no function {function!r}{_nearest_in(module, function)}")
    return [Declared(local, at or FaasConnection.named("default"), {})]


def module_publication(
    name: str, only: Sequence[str], at: FaasConnection | None, *, called: str | None = None
) -> Declared:
    """Import a module and declare it whole.

    Args:
        name: Its dotted name, found as ``python -m`` would from the folder that the command stands in.
        only: The functions to publish; all public ones if it is empty.
        at: The gateway; ``default`` if it is None.
        called: The name to deploy under; the last part of its own if it is None.

    Raises:
        Usage: There is no such module.
        FileFailed: The module raised.
        CaptureRefused: It has no function that could be remote, or not one that is named.
    """
    from away.capture import whole_module
    from away.connection import FaasConnection
    from away.publish_mode import Declared

    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as python -m does, a text
    with _declaring():
        _import_module(name)
    whole: Any = whole_module(name, only or None)  # publishing takes it where it takes a function
    options = {} if called is None else {"name": called}
    return Declared(whole, at or FaasConnection.named("default"), options)


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except SystemExit as error:
        raise Usage(f"the module {name} ended the program as it was imported") from error
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise _module_failed(name, error) from error
        raise Usage(f"there is no file {name!r} and no module of that name") from None
    except AwayError:
        raise
    except Exception as error:  # the user's own code
        raise _module_failed(name, error) from error


def _module_failed(name: str, error: Exception) -> FileFailed:
    """Say at which line of the user's a module failed that was imported."""
    import traceback

    folder = os.path.realpath(os.getcwd()) + os.sep  # noqa: PTH109 - it is compared as a text
    places = [
        f"{here.removeprefix(folder)}:{each.lineno}: "
        for each in traceback.extract_tb(error.__traceback__)
        if (here := os.path.realpath(each.filename)).startswith(folder)
        # What a module of the folder calls may be installed in it too; <frozen …> is no file.
        and os.path.isfile(here)  # noqa: PTH113
        and "site-packages" not in here
    ]
    return FileFailed(f"{name}: {places[-1] if places else ''}{type(error).__name__}: {error}")


@contextlib.contextmanager
def _declaring() -> Iterator[None]:
    """Let what is imported publish nothing, and say nothing that the command should."""
    from away.publish_mode import read_by_command

    # What the file prints is no part of what the command prints, which may be JSON.
    printing = contextlib.redirect_stdout(sys.stderr)
    with read_by_command(), warnings.catch_warnings(), printing:
        # Whoever runs the file sees its warnings.
        warnings.simplefilter("ignore")
        yield


def _nearest_in(module: ModuleType, name: str) -> str:
    from away.names import suggestion

    functions = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
    return f"; {suggestion(name, functions)}"


def _import_file(path: Path) -> ModuleType:
    """Import a file under the name that its functions are published by.

    A script's functions belong to its stem, as when it publishes itself; a file within a package is
    imported as a part of it, so that its relative imports work.
    """
    root, parts = _module_parts(path)
    # As running it would: its folder first, and not the folder that the command stands in.
    sys.path.insert(0, str(root))
    try:
        if len(parts) > 1:
            return importlib.import_module(".".join(parts))
        return _load(parts[0], path)
    except SystemExit as error:
        raise Usage(
            f"{path.name} ended the program as it was imported; put what runs under"
            " if __name__ == '__main__'"
        ) from error
    except FunctionNotFound as error:
        raise FileFailed(
            f"{_where(error, path)} calls a function as the file is imported, before anything of it"
            f" is published: {error}; put what runs under if __name__ == '__main__'"
        ) from error
    except (AwayError, Usage):
        raise
    except Exception as error:  # the user's own code
        raise FileFailed(f"{_where(error, path)}: {type(error).__name__}: {error}") from error


def _module_parts(path: Path) -> tuple[Path, list[str]]:
    """Return the folder that a file's module is imported from, and the parts of its dotted name."""
    root, parts = path.parent, [path.stem]
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    return root, parts


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Usage(f"{path.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _where(error: BaseException, path: Path) -> str:
    """Return FILE:LINE of the user's file where an error came through."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    here = os.path.realpath(path)
    lines = [each.lineno for each in frames if os.path.realpath(each.filename) == here]
    if not lines and isinstance(error, SyntaxError) and error.filename == str(path):
        lines = [error.lineno]
    return f"{path.name}:{lines[-1]}" if lines else path.name
