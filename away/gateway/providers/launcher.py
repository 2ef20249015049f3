"""The launcher: runs the Python command of an unpacked image with the gateway's interpreter.

It runs as a script, ``python -I launcher.py ROOT PATHS ARGUMENT…``, in isolated mode so that nothing of the
user's environment or folders gets in. What follows ``python3`` in the image's command is done here as
the interpreter would do it in a container: absolute paths, the image's PYTHONPATH and the working
folder are looked for inside ROOT, and they and the script's folder stand before the gateway's
site-packages. PATHS are the gateway's own folders that isolated mode leaves out, put last (a
``--user`` installation has its packages there). Standard library only, and little of it: each function pays for it at its start.
"""

from __future__ import annotations

import os
import sys

# Options of the interpreter that take a value, as one argument or as the next.
WITH_VALUE = "WX"
# Those that only mean something when the interpreter itself is given them.
PASSED_ON = "uOBbvqWX"


class Command:
    """What follows ``python3`` in a command, taken apart.

    Args:
        options: Options for the interpreter itself, such as ``-u``.
        kind: ``m``, ``c``, or empty for a script.
        target: The module, the code, or the script's path.
        arguments: What the program finds in ``sys.argv[1:]``.
        safe_path: Whether the program's own folder stays out of ``sys.path`` (``-P``, ``-I``).
        ignores_environment: Whether PYTHONPATH and its like are ignored (``-E``, ``-I``).
    """

    __slots__ = ("arguments", "ignores_environment", "kind", "options", "safe_path", "target")

    def __init__(self) -> None:
        self.options: list[str] = []
        self.kind = ""
        self.target = ""
        self.arguments: list[str] = []
        self.safe_path = False
        self.ignores_environment = False


def take_apart(arguments: list[str]) -> Command:
    """Read what follows ``python3`` as the interpreter does.

    Raises:
        ValueError: It names no module, code or script; the text says so in one sentence.
    """
    command = Command()
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        argument = rest.pop(0)
        if _read_option(command, argument, rest):
            break
    else:
        if not rest or rest[0] == "-":
            raise ValueError("the command starts Python without a script, a module or code")
        command.target = rest.pop(0)
    command.arguments = rest
    return command


def _read_option(command: Command, argument: str, rest: list[str]) -> bool:
    """Read one argument of options; say whether it named the program."""
    if argument.startswith("--"):
        return False  # only --help, --version and --check-hash-based-pycs are there
    letters = argument[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter in "mc" or letter in WITH_VALUE:
            if not letters and not rest:
                raise ValueError(f"the command gives Python's option -{letter} no value")
            value = letters or rest.pop(0)
            if letter in WITH_VALUE:
                command.options += [f"-{letter}", value]
                return False
            command.kind, command.target = letter, value
            return True
        command.safe_path |= letter in "IP"
        command.ignores_environment |= letter in "IE"
        if letter in PASSED_ON:
            command.options.append(f"-{letter}")
    return False


def inside(root: str, path: str) -> str:
    """Return where an absolute path of the image is, if the image has it; else the path itself."""
    if not path.startswith("/"):
        return path
    found = os.path.normpath(root + "/" + os.path.normpath(path))
    return found if os.path.exists(found) else path  # noqa: PTH110 - no pathlib here


def prepare_path(root: str, command: Command, script: str) -> None:
    """Put the program's folder and the image's PYTHONPATH before all that is there."""
    first: list[str] = []
    if not command.safe_path:
        # As python(1): the script's folder, the working folder for -m, "" for -c.
        first.append(
            os.path.dirname(script)  # noqa: PTH120 - no pathlib here
            if script
            else os.getcwd()  # noqa: PTH109 - no pathlib here
            if command.kind == "m"
            else ""
        )
    if not command.ignores_environment and os.environ.get("PYTHONPATH"):
        entries = [inside(root, each) for each in os.environ["PYTHONPATH"].split(os.pathsep)]
        # For the Pythons that the function starts itself.
        os.environ["PYTHONPATH"] = os.pathsep.join(entries)
        first += [os.path.abspath(each) for each in entries if each]  # noqa: PTH100
    sys.path[:0] = first


def run_source(source: str | bytes, name: str, file: str | None) -> None:
    """Run code as the module ``__main__``."""
    import types

    main = types.ModuleType("__main__")
    if file is not None:
        main.__file__ = file
    sys.modules["__main__"] = main
    exec(compile(source, name, "exec"), main.__dict__)  # noqa: S102 - that is what it is for


def stay_on_loopback() -> None:
    """Let what the program binds on PORT to every address of the machine be on loopback only.

    A server in a container listens on 0.0.0.0, which is its own small network there. Here that would
    be the laptop's, open to everyone around; only the gateway, on this machine, calls functions.
    """
    import socket

    bind = socket.socket.bind
    port = os.environ.get("PORT", "")

    def bind_on_loopback(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and len(address) >= 2 and str(address[1]) == port:
            if self.family == socket.AF_INET and address[0] in ("", "0.0.0.0"):  # noqa: S104
                address = ("127.0.0.1", address[1])
            elif self.family == socket.AF_INET6 and address[0] in ("", "::"):
                alone = self.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
                # A socket for both families is reached by the IPv4 address in its IPv6 form.
                address = ("::1" if alone else "::ffff:127.0.0.1", *address[1:])
        bind(self, address)  # type: ignore[arg-type]

    socket.socket.bind = bind_on_loopback  # type: ignore[assignment, method-assign]


def launch(root: str, arguments: list[str]) -> None:
    """Run an image's Python command; returns when the program's main module ends."""
    command = take_apart(arguments)
    argv = [inside(root, each) for each in command.arguments]
    script = os.path.abspath(inside(root, command.target)) if not command.kind else ""  # noqa: PTH100
    stay_on_loopback()
    prepare_path(root, command, script)
    sys.argv = [script or f"-{command.kind}", *argv]
    if command.kind == "m":
        import runpy

        # What python -m itself calls; run_module() would take the module's globals away at its end,
        # under the feet of threads that still run.
        runpy._run_module_as_main(command.target)  # type: ignore[attr-defined]  # noqa: SLF001
    elif command.kind == "c":
        run_source(command.target, "<string>", None)
    else:
        with open(script, "rb") as file:  # noqa: PTH123 - no pathlib here
            source = file.read()
        run_source(source, script, script)


if __name__ == "__main__":
    sys.path += [each for each in sys.argv[2].split(os.pathsep) if each]
    launch(sys.argv[1], sys.argv[3:])
