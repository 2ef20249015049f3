"""Publishing: a local function becomes an image, is pushed, deployed, and awaited.

:func:`publish` does it for a caller that waits; :func:`publish_conversation` is the same for any
driver. No Docker is needed: the image is made here and pushed by the registry's HTTP API.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, cast

from away.exceptions import CaptureRefused, ConfigError
from away.names import nearest, printable
from away.publish.deployment import Standing
from away.publish.options import Keywords, Options
from away.publish.progress import Progress, Step
from away.publish.screen import shown
from away.publish.steps import Published, Publisher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Unpack

    from away.capture import Captured
    from away.config.secret import Secret
    from away.connection import FaasConnection
    from away.connection.conversations import Conversation

__all__ = [
    "Keywords",
    "Options",
    "Published",
    "Standing",
    "Step",
    "compare",
    "publish",
    "publish_async",
    "publish_conversation",
]


def publish(
    function: Callable[..., Any],
    connection: FaasConnection,
    *,
    verbose: bool | None = None,
    **options: Unpack[Keywords],
) -> Published:
    """Publish a function on a gateway, and return when it answers there.

    Args:
        function: The function.
        connection: The gateway.
        verbose: False for silence; the connection's own setting if it is left out.
        **options: As :class:`Options` lists them.

    Returns:
        What came of it: created, updated or unchanged.

    Raises:
        CaptureRefused: The function, or a value that it uses, cannot be packed.
        NameRefused: It cannot be deployed under that name, or something else has the name.
        GatewayUnreachable: There is no connection, and nothing was deployed.
        AuthenticationRefused: The gateway or the registry refused us, and nothing was deployed.
        PublishFailed: A step failed, of whatever else; ``step`` names it, the message says what runs
            now. From the deployment on, all that goes wrong is this.

    Example::

        publish(sum_two_numbers, FaasConnection.local(), env={"MODE": "fast"})
    """
    loud = connection.verbose if verbose is None else verbose
    display = shown(name_of(function, options.get("name")), connection.url, verbose=loud)
    with display as progress:
        conversation = start(function, connection, cast("dict[str, Any]", options), progress)
        published = connection.run(conversation)
    display.verdict(sentence(published, connection))
    return published


async def publish_async(
    function: Callable[..., Any],
    connection: FaasConnection,
    *,
    verbose: bool | None = None,
    **options: Unpack[Keywords],
) -> Published:
    """Publish a function without blocking the event loop; as :func:`publish` otherwise."""
    import asyncio

    loud = connection.verbose if verbose is None else verbose
    display = shown(name_of(function, options.get("name")), connection.url, verbose=loud)
    given = cast("dict[str, Any]", options)
    with display as progress:
        # Capturing reads files and pickles: work for a tenth of a second and more.
        conversation = await asyncio.to_thread(start, function, connection, given, progress)
        published: Published = await connection.aio.run(conversation)
    display.verdict(sentence(published, connection))
    return published


def start(
    function: Callable[..., Any],
    connection: FaasConnection,
    given: Mapping[str, Any],
    progress: Progress,
) -> Conversation[Published]:
    """Capture a function and begin the conversation that publishes it."""
    options = read_options(given)
    with progress.step("capture"):
        captured = captured_of(function, options)
    publisher = publisher_of(function, captured, connection, options, progress)
    return publisher.conversation()


def publisher_of(
    function: Callable[..., Any],
    captured: Captured,
    connection: FaasConnection,
    options: Options,
    progress: Progress,
) -> Publisher:
    """Make the publisher of a function, which can capture it in its other form if need be."""

    def imported() -> Captured | None:
        if captured.form == "import":
            return None
        try:
            other = captured_of(function, options, as_imported=True)
        except CaptureRefused:
            return None  # as it is here, by value, it can be published
        return other if other.form == "import" else None

    return Publisher(captured, connection, options, progress, imported)


def publish_conversation(
    captured: Captured,
    connection: FaasConnection,
    options: Options | None = None,
    *,
    progress: Progress | None = None,
) -> Conversation[Published]:
    """Return the conversation that publishes a captured function, for any driver to pump."""
    publisher = Publisher(captured, connection, options or Options(), progress or Progress())
    return publisher.conversation()


def compare(
    function: Callable[..., Any] | Captured,
    connection: FaasConnection,
    **options: Any,
) -> Standing:
    """Tell how what is deployed under a function's name stands to the function as it is here.

    Args:
        function: The function, or what was captured of it.
        connection: The gateway.
        **options: Those of :func:`publish`.

    Returns:
        ``ABSENT``, ``UNCHANGED``, ``CHANGED``, ``OTHER`` or ``FOREIGN``.

    Raises:
        CaptureRefused, NameRefused: As :func:`publish` does.
        AwayError: The gateway could not be asked.
    """
    from away.capture import Captured

    chosen = read_options(options)
    if isinstance(function, Captured):
        publisher = Publisher(function, connection, chosen, Progress())
    else:
        captured = captured_of(function, chosen)
        publisher = publisher_of(function, captured, connection, chosen, Progress())
    standing, _ = connection.run(publisher.compare())
    return standing


# ---------------------------------------------------------------- details

# Options that the project of 2023 had, and what has come of each.
GONE = {
    "server_pack_args": "is not needed any more: results travel by protocol, or see safe_args=",
    "server_unpack_args": "is not needed any more: arguments travel by protocol, or see safe_args=",
}


def read_options(given: Mapping[str, Any]) -> Options:
    """Make options of keywords; an unknown one is the TypeError of any call.

    A decorator's keywords may say None where they mean the default.
    """
    unknown = [key for key in given if key not in Options._fields]
    if unknown:
        near = nearest(unknown[0], Options._fields, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        if unknown[0] in GONE:
            hint = f", which {GONE[unknown[0]]}"
        raise TypeError(f"publish() got an unexpected keyword argument '{unknown[0]}'{hint}")
    stated = {key: value for key, value in given.items() if value is not None}
    for key in TEXTS:
        if key in stated and not isinstance(stated[key], Mapping):
            stated[key] = texts(key, stated[key])
    if "registry_auth" in stated:
        stated["registry_auth"] = login(stated["registry_auth"])
    return Options(**stated)


# Options that are one text or several.
TEXTS = ("requirements", "module_imports", "include", "system_packages", "secrets", "constraints")


def login(given: object) -> tuple[str, Secret]:
    """Take a user and password apart and hide the password.

    Raises:
        ConfigError: It is neither a pair of texts nor ``USER:PASSWORD``.
    """
    from away.config.secret import Secret

    user, password = "", ""
    if isinstance(given, str):
        user, _, password = given.partition(":")
    elif isinstance(given, tuple | list) and len(given) == 2:
        user, password = given
    if not (isinstance(user, str) and isinstance(password, str | Secret) and user and password):
        raise ConfigError("registry_auth is a pair of user and password, or 'USER:PASSWORD'")
    return user, password if isinstance(password, Secret) else Secret(password)


def texts(what: str, value: Iterable[Any] | str | PathLike[str]) -> tuple[Any, ...]:
    """Take one text or several; a text is an iterable too, and never meant as one here."""
    found = (value,) if isinstance(value, str | PathLike) else tuple(value)
    for each in found:
        if not isinstance(each, str) and not (what == "include" and isinstance(each, PathLike)):
            raise TypeError(f"{what} takes texts, not {type(each).__name__}")
    return found


def captured_of(
    function: Callable[..., Any], options: Options, *, as_imported: bool = False
) -> Captured:
    """Capture a function as the options say."""
    from away.capture import capture

    return capture(
        function,
        safe_args=options.safe_args,
        name=options.name,
        requirements=options.requirements,
        as_imported=as_imported,
    )


def name_of(function: Callable[..., Any], name: str | None) -> str:
    """Return what to call a function while its name is not decided on yet."""
    return str(name or getattr(function, "__name__", type(function).__name__))


def sentence(published: Published, connection: FaasConnection) -> str:
    """Say what came of a publish, and what is to be known of a function that was captured anew."""
    where = f"{published.name} on {connection.url}"
    if published.action == "unchanged":
        return f"{where} is unchanged: nothing to do"
    seconds = sum(step.seconds for step in published.steps)
    notes = [f"  note: {printable(each)}" for each in published.notes]
    return "\n".join([*notes, f"{published.action} {where} in {seconds:.2f} s"])
