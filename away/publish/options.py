"""What the user may ask of a publish: every keyword, its type and what it means."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from os import PathLike

    from away.config.secret import Secret
    from away.publish.secret_values import SecretValue

    # What a secret that is missing at the gateway is created from.
    SecretSource = str | bytes | PathLike[str] | None

__all__ = ["Keywords", "Options"]


class Options(NamedTuple):
    """What the user asks of a publish, beside the function and the gateway.

    Attributes:
        name: The name to deploy under; needed for lambdas, methods and names beyond ASCII.
        namespace: The OpenFaaS namespace; the connection's if it is left out.
        safe_args: False to let arguments and results travel as pickles. Whoever can reach the
            function can then run code in it.
        overwrite: True to replace a function of that name which something else published.
        image_builder: ``registry``, which needs no Docker, or ``docker``; the connection's if it is
            left out, or what the other options need.
        base_image: The image to stand on, ``[HOST/]NAME[:TAG]``; looked for in the registry that is
            pushed to, then on Docker Hub, if it names no host. It has to have Python.
        platform: ``linux/arm64`` and the like; what the gateway says it runs on if it is left out.
        python: The base image's minor version of Python, ``3.12``, where the image does not say it;
            another one than the image has is refused.
        registry: The registry to push to, ``HOST[:PORT]``; the gateway's own if it is left out.
        inside_registry: The same registry as the gateway pulls from it, where that differs.
        registry_prefix: What images' names begin with there; ``away`` if it is left out.
        registry_auth: User and password for the registry that is pushed to.
        requirements: Distributions to pack beside those found, ``NAME==VERSION``.
        module_imports: Modules that the function imports where nobody sees it, packed or pinned as
            if it did so openly.
        include: Local packages, data files and folders to pack beside those found.
        compile: True for compiled files beside those of requirements: a faster first import, a
            larger image.
        dockerfile: A Dockerfile that makes the image to stand on, for the ``docker`` builder.
        system_packages: Packages of the base image's system to install, for the ``docker`` builder.
        enable_dev_building: True to have compilers where requirements are installed, so that those
            without a wheel are built, for the ``docker`` builder.
        secrets: Names of secrets that the function may read with ``away.secret``. With a mapping,
            those that the gateway lacks are created, from a text, bytes, or the file at a
            :class:`~pathlib.Path`; what the gateway has is left as it is. Relative paths start from
            the folder of the function's file. The line end after the last line of a file with text
            is left out; texts and bytes are taken as they are.
        env: Environment variables, text to text.
        labels: Labels of the deployment; those that an autoscaler reads among them:
            ``{"com.openfaas.scale.min": "1", "com.openfaas.scale.max": "5"}``.
        annotations: Annotations beside those that Away writes.
        limits: ``{"memory": "128Mi", "cpu": "500m"}``, as far as the provider honours them.
        requests: The same, of what is reserved.
        constraints: Where it may run, in the provider's words.
        read_only_root: True for a root file system that cannot be written.
        timeout: Seconds that one call of the function may take; sets all that has to agree.
        publish_timeout: Seconds for the whole publish; the connection's ``timeout`` if left out.
        max_inflight: How many calls the function takes at once; any number if it is left out.
        check: False to skip loading the payload in a clean interpreter first.
    """

    name: str | None = None
    namespace: str = ""
    safe_args: bool = True
    overwrite: bool = False
    image_builder: str | None = None
    base_image: str | None = None
    platform: str | None = None
    python: str | None = None
    registry: str | None = None
    inside_registry: str | None = None
    registry_prefix: str | None = None
    registry_auth: tuple[str, Secret] | None = None
    requirements: tuple[str, ...] = ()
    module_imports: tuple[str, ...] = ()
    include: tuple[str | PathLike[str], ...] = ()
    compile: bool = False
    dockerfile: str | PathLike[str] | None = None
    system_packages: tuple[str, ...] = ()
    enable_dev_building: bool = False
    secrets: tuple[str, ...] | Mapping[str, SecretSource | SecretValue] = ()
    env: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    limits: Mapping[str, str] = {}
    requests: Mapping[str, str] = {}
    constraints: tuple[str, ...] = ()
    read_only_root: bool = False
    timeout: float | None = None
    publish_timeout: float | None = None
    max_inflight: int | None = None
    check: bool = True

    def __repr__(self) -> str:
        """Name what is set, without the values: those of ``env`` and ``annotations`` may be secret."""
        given = (key for key in self._fields if getattr(self, key) != self._field_defaults[key])
        return f"<Options {', '.join(given)}>"


class Keywords(TypedDict, total=False):
    """The keywords of a publish, for type checkers; :class:`Options` says what they mean."""

    name: str | None
    namespace: str
    safe_args: bool
    overwrite: bool
    image_builder: str | None
    base_image: str | None
    platform: str | None
    python: str | None
    registry: str | None
    inside_registry: str | None
    registry_prefix: str | None
    registry_auth: tuple[str, str] | str | None
    requirements: Iterable[str]
    module_imports: Iterable[str]
    include: Iterable[str | PathLike[str]]
    compile: bool
    dockerfile: str | PathLike[str] | None
    system_packages: Iterable[str]
    enable_dev_building: bool
    secrets: Iterable[str] | Mapping[str, SecretSource]
    env: Mapping[str, str] | None
    labels: Mapping[str, str] | None
    annotations: Mapping[str, str] | None
    limits: Mapping[str, str] | None
    requests: Mapping[str, str] | None
    constraints: Iterable[str]
    read_only_root: bool
    timeout: float | None
    publish_timeout: float | None
    max_inflight: int | None
    check: bool
