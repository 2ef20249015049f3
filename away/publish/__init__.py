"""Publishing: a local function becomes an image, is pushed, deployed, and awaited.

:func:`publish` does it for a caller that waits; :func:`publish_conversation` is the same for any
driver. No Docker is needed: the image is made here and pushed by the registry's HTTP API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from away.capture.modules import NOT_PACKED
from away.exceptions import CaptureRefused, NameRefused
from away.names import function_name, printable
from away.publish.capturing import captured_by
from away.publish.deployment import Standing
from away.publish.keywords import know_secrets, options_for, read_options
from away.publish.options import Keywords, Options
from away.publish.progress import Progress, Step
from away.publish.screen import shown
from away.publish.steps import Published, Publisher
from away.user_lines import warn_at_user_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Unpack

    from away.capture import Captured
    from away.connection import FaasConnection
    from away.connection.conversations import Conversation
    from away.publish.report import Report
    from away.publish.together import Outcome, Task

__all__ = [
    "Keywords",
    "Options",
    "Publication",
    "Published",
    "Standing",
    "Step",
    "compare",
    "know_secrets",
    "options_for",
    "publish",
    "publish_all",
    "publish_async",
    "publish_conversation",
]


class Publication(NamedTuple):
    """A function that is to be published, beside others.

    Attributes:
        function: The function.
        faas: The gateway.
        options: Those of :func:`publish`.
    """

    function: Callable[..., Any]
    faas: FaasConnection
    options: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        """Name the options, without their values: those of ``env`` and ``secrets`` may be secret."""
        given = f" with {', '.join(self.options)}" if self.options else ""
        called = name_of(self.function, self.options.get("name"))
        return f"<Publication {called} on {self.faas.url}{given}>"


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
        published = connection.run(listed_anew(conversation, connection))
    display.verdict(sentence(published, connection))
    if not loud:
        warn_of_absent(published)
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
        published: Published = await connection.aio.run(listed_anew(conversation, connection))
    display.verdict(sentence(published, connection))
    if not loud:
        warn_of_absent(published)
    return published


def publish_all(
    publications: Iterable[Publication],
    *,
    jobs: int = 4,
    verbose: bool = True,
    overwrite: bool = False,
) -> list[Outcome]:
    """Publish several functions side by side; one that fails stops no other.

    What two of them need is made and uploaded once, and a function that calls another one of them is
    deployed after it.

    Args:
        publications: The functions, each with its gateway and its options.
        jobs: How many at once.
        verbose: False for silence.
        overwrite: True to replace functions of their names which something else published.

    Returns:
        What came of each, in the order given: ``published``, or the ``error``.

    Raises:
        TypeError: There is no such option.
        KeyboardInterrupt: The user had enough; its text says what was changed and what was not.

    Example::

        publish_all([Publication(add, faas), Publication(shasum, faas, {"name": "sha"})])
    """
    from away.publish.together import run_all

    wanted = list(publications)
    know_secrets((each.function, each.faas, each.options) for each in wanted)
    tasks = [task_of(each, overwrite=overwrite) for each in wanted]
    outcomes = run_all(tasks, jobs=max(1, jobs), verbose=verbose, say=sentence)
    # Once for all that went to a gateway.
    done = {
        (id(task.connection.catalogue), each.published.namespace): (
            task.connection,
            each.published,
        )
        for task, each in zip(tasks, outcomes, strict=True)
        if each.published is not None
    }
    for connection, published in done.values():
        connection.run(renewal(published, connection))
    return outcomes


def task_of(publication: Publication, *, overwrite: bool) -> Task:
    """Put together how one of several is captured and published."""
    from away.publish.together import Ready, Task

    function, connection = publication.function, publication.faas
    given = {key: value for key, value in publication.options.items() if key != "verbose"}
    if overwrite:
        given["overwrite"] = True

    def capture(progress: Progress) -> Ready:
        options = options_for(function, connection, given)
        with progress.step("capture"):
            captured = captured_of(function, options)

        def begin() -> Conversation[Published]:
            # Not before its turn: its time is counted from here.
            publisher = publisher_of(function, captured, connection, options, progress)
            publisher.warns_of_unsafe = False
            return publisher.conversation()

        return Ready(captured, options.namespace or connection.namespace, begin)

    return Task(name_of(function, given.get("name")), connection, capture)


def start(
    function: Callable[..., Any],
    connection: FaasConnection,
    given: Mapping[str, Any],
    progress: Progress,
) -> Conversation[Published]:
    """Capture a function and begin the conversation that publishes it."""
    options = options_for(function, connection, given)
    with progress.step("capture"):
        captured = captured_of(function, options)
    publisher = publisher_of(function, captured, connection, options, progress)
    return publisher.conversation()


def listed_anew(
    conversation: Conversation[Published], connection: FaasConnection
) -> Conversation[Published]:
    """Publish, and have what the gateway lists then for imports, here and in later processes."""
    published = yield from conversation
    yield from renewal(published, connection)
    return published


def renewal(published: Published, connection: FaasConnection) -> Conversation[None]:
    """Fetch the list after a publish; where nothing was changed, only to keep one if none is."""
    namespace, catalogue = published.namespace, connection.catalogue
    if published.action == "unchanged" and (
        catalogue.kept(namespace) is not None
        or catalogue.cached(namespace) is not None
        or not catalogue.can_keep(namespace)
    ):
        return
    yield from connection.api.renew_list(namespace or None)


def publisher_of(
    function: Callable[..., Any],
    captured: Captured,
    connection: FaasConnection,
    options: Options,
    progress: Progress,
) -> Publisher:
    """Make the publisher of a function, which can capture it in its other form if need be."""
    from away.publish.sections import note_on_sections

    notes = note_on_sections(function, connection, options.name or captured.name)
    captured = captured._replace(warnings=(*captured.warnings, *notes))

    def imported() -> Captured | None:
        if captured.form != "dill":
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

    if isinstance(function, Captured):
        publisher = Publisher(function, connection, read_options(options, values=False), Progress())
    else:
        # Where it is only compared the files of secrets need not be, as in production.
        chosen = options_for(function, connection, options, values=False)
        captured = captured_of(function, chosen)
        publisher = publisher_of(function, captured, connection, chosen, Progress())
    standing, _ = connection.run(publisher.compare())
    return standing


def preview(function: Callable[..., Any], connection: FaasConnection, **options: Any) -> Report:
    """Find out what publishing a function would do, without changing anything anywhere.

    Args:
        function: The function.
        connection: The gateway.
        **options: Those of :func:`publish`.

    Returns:
        What would be in the image, layer by layer, and what would become of it; what could not be
        found out, since the gateway does not answer for one, is among its ``notes``.

    Raises:
        CaptureRefused, NameRefused, PublishFailed: Publishing could not even begin.

    Example::

        print(preview(sum_two_numbers, FaasConnection.local()).listing())
    """
    from away.publish.dry_run import look

    given = {key: value for key, value in options.items() if key != "verbose"}
    chosen = options_for(function, connection, given)
    captured = captured_of(function, chosen)
    publisher = publisher_of(function, captured, connection, chosen, Progress())
    return connection.run(look(publisher))


# ---------------------------------------------------------------- details


def captured_of(
    function: Callable[..., Any], options: Options, *, as_imported: bool = False
) -> Captured:
    """Capture a function as the options say."""
    return captured_by(options, function, as_imported=as_imported)


def name_of(function: Callable[..., Any], name: str | None) -> str:
    """Return what to call a function while its name is not decided on yet, as a gateway spells it."""
    called = str(name or getattr(function, "__name__", type(function).__name__))
    try:
        return function_name(called)
    except NameRefused:
        return called


def warn_of_absent(published: Published) -> None:
    """Warn of modules that the function imports and that did not go along, where nothing is shown."""
    for note in published.notes:
        if note.endswith(NOT_PACKED) and published.action != "unchanged":
            warn_at_user_line(note, UserWarning)


def sentence(published: Published, connection: FaasConnection) -> str:
    """Say what came of a publish, and what is to be known of a function that was captured anew."""
    where = f"{published.name} on {connection.url}"
    if published.action == "unchanged":
        return f"{where} is unchanged: nothing to do"
    seconds = sum(step.seconds for step in published.steps)
    untold = [each for each in published.notes if each not in published.warned]
    notes = [f"  note: {printable(each)}" for each in untold]
    return "\n".join([*notes, f"{published.action} {where} in {seconds:.2f} s"])
