"""What a deployment asks for: read from JSON and refused as OpenFaaS's provider in Go does.

Values in, values out: nothing here touches the network, the disk or a process. The texts are those of
faasd, Go's encoding/json and containerd where a client might have learnt to read them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

__all__ = ["NAMESPACE", "Deployment", "Refused", "read_deployment", "read_object", "texts"]

# The only namespace there is; others are a later addition.
NAMESPACE = "openfaas-fn"
# With one more, faasd deploys a function that can never be reached: the name is its host name.
MAX_NAME = 63
# containerd's limit for a label; faasd keeps annotations as labels with a prefix of 25 characters.
MAX_LABEL_BYTES = 4096
ANNOTATION_PREFIX = "com.openfaas.annotations."

_NAME = re.compile(r"[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*\Z")


class Refused(Exception):
    """A request that is refused with a status and a text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class Deployment:
    """A function as it was asked for, with what was found for it."""

    name: str
    image: str
    namespace: str = NAMESPACE
    env_process: str = ""
    env_vars: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    limits: dict[str, str] = field(default_factory=dict)
    requests: dict[str, str] = field(default_factory=dict)
    read_only_root: bool = False
    # Found by the gateway: the manifest's digest in its own registry, what the provider has the
    # image by, its environment, the time of deployment, and the gateway's own URL at that time.
    digest: str = ""
    image_id: str = ""
    image_env: dict[str, str] = field(default_factory=dict)
    created_at: str = ""
    gateway_url: str = ""


def read_deployment(body: bytes) -> Deployment:
    """Read the body of a deployment and check all of it that can be checked alone.

    Raises:
        Refused: With the status and the text that OpenFaaS answers.
    """
    fields = read_object(body, "types.FunctionDeployment")
    name = _text(fields, "service")
    deployment = Deployment(
        name=name,
        image=_text(fields, "image").strip(),
        namespace=_text(fields, "namespace") or NAMESPACE,
        env_process=_text(fields, "envProcess"),
        env_vars=_map(fields, "envVars"),
        secrets=_list(fields, "secrets"),
        labels=_map(fields, "labels"),
        annotations=_map(fields, "annotations"),
        limits=_resources(fields, "limits"),
        requests=_resources(fields, "requests"),
        read_only_root=_switch(fields, "readOnlyRootFilesystem"),
    )
    _list(fields, "constraints")
    if deployment.namespace != NAMESPACE:
        raise Refused(400, "namespace not valid")
    _check_name(name)
    _check_sizes(deployment)
    _check_environment(deployment.env_vars)
    return deployment


def read_object(body: bytes, type_name: str) -> dict[str, Any]:
    """Read a JSON object; field names in any case, as Go matches them.

    Raises:
        Refused: 400 with Go's message.
    """
    try:
        value = json.loads(body)
    except RecursionError:
        raise Refused(400, "exceeded max depth") from None
    except ValueError as error:
        raise Refused(400, _syntax_message(body, error)) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refused(
            400, f"json: cannot unmarshal {_kind(value)} into Go value of type {type_name}"
        )
    return {str(key).lower(): each for key, each in value.items()}


def texts(fields: dict[str, Any], *names: str, type_name: str) -> list[str]:
    """Return fields that must be text, empty where they are left out.

    Raises:
        Refused: 400 with Go's message.
    """
    return [_text(fields, name, type_name) for name in names]


def _syntax_message(body: bytes, error: ValueError) -> str:
    if not body.strip():
        return "unexpected end of JSON input"
    if isinstance(error, json.JSONDecodeError) and error.pos < len(error.doc):
        character = error.doc[error.pos]
        shown = character if character.isprintable() else ascii(character).strip("'")
        where = "object key string" if "property name" in error.msg else "value"
        return f"invalid character '{shown}' looking for beginning of {where}"
    if isinstance(error, json.JSONDecodeError):
        return "unexpected end of JSON input"
    return "invalid UTF-8 or number in JSON input"


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    names = {str: "string", int: "number", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "value")


def _wrong(value: object, name: str, wanted: str, type_name: str = "FunctionDeployment") -> Refused:
    return Refused(
        400,
        f"json: cannot unmarshal {_kind(value)} into Go struct field {type_name}.{name}"
        f" of type {wanted}",
    )


def _text(fields: dict[str, Any], name: str, type_name: str = "FunctionDeployment") -> str:
    value = fields.get(name.lower())
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(value, name, "string", type_name)
    return value


def _switch(fields: dict[str, Any], name: str) -> bool:
    value = fields.get(name.lower())
    if value is None:
        return False
    if not isinstance(value, bool):
        raise _wrong(value, name, "bool")
    return value


def _map(fields: dict[str, Any], name: str) -> dict[str, str]:
    value = fields.get(name.lower())
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(value, name, "map[string]string")
    for each in value.values():
        if not isinstance(each, str) and each is not None:
            raise _wrong(each, name, "string")
    return {key: each or "" for key, each in value.items()}


def _list(fields: dict[str, Any], name: str) -> tuple[str, ...]:
    value = fields.get(name.lower())
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _wrong(value, name, "[]string")
    for each in value:
        if not isinstance(each, str):
            raise _wrong(each, name, "string")
    return tuple(dict.fromkeys(value))


def _resources(fields: dict[str, Any], name: str) -> dict[str, str]:
    value = fields.get(name.lower())
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(value, name, "types.FunctionResources")
    parts = {str(key).lower(): each for key, each in value.items()}
    found = {each: _text(parts, each, "FunctionResources") for each in ("memory", "cpu")}
    return {key: each for key, each in found.items() if each}


def _check_name(name: str) -> None:
    start = f"unable to create container: {name}, error: "
    if not name:
        raise Refused(400, start + "identifier must not be empty: invalid argument")
    if not _NAME.match(name):
        raise Refused(
            400,
            start + f'identifier "{name}" must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$'
            ": invalid argument",
        )
    if len(name) > MAX_NAME:
        raise Refused(
            400,
            start + f'identifier "{name}" greater than maximum length ({MAX_NAME} characters)'
            ": invalid argument",
        )


def _check_sizes(deployment: Deployment) -> None:
    hidden = len(ANNOTATION_PREFIX)
    sizes = [_size(each) for each in deployment.labels.items()]
    sizes += [_size(each) + hidden for each in deployment.annotations.items()]
    if any(size > MAX_LABEL_BYTES for size in sizes):
        raise Refused(
            400, f"label key and value greater than maximum size ({MAX_LABEL_BYTES} bytes)"
        )


def _size(pair: tuple[str, str]) -> int:
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in pair)


def _check_environment(env_vars: dict[str, str]) -> None:
    for name, value in env_vars.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise Refused(
                400,
                f"unable to start task: {name!r} cannot be the name of an environment variable,"
                " or its value has a null character",
            )
