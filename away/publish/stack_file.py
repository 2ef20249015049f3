"""``stack.yml``, faas-cli's file of functions: written so that faas-cli reads what was meant.

faas-cli replaces ``${NAME}`` in the whole text by variables of the environment before it reads the YAML
(https://docs.openfaas.com/reference/yaml/), and makes one backslash of two as it does so (seen with
faas-cli of July 2026): neither a dollar sign nor two backslashes stand in the text as themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["functions_in", "stack_entry", "stack_text"]

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")
# Words that YAML 1.1 reads as something else than text.
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_HEAD = """\
# Written by `away export`, which replaces it. `faas-cli up -f stack.yml` builds, pushes and deploys.
"""

# The deploy request's fields by what stack.yml calls them.
_FIELDS = {
    "envVars": "environment",
    "secrets": "secrets",
    "labels": "labels",
    "annotations": "annotations",
    "constraints": "constraints",
    "limits": "limits",
    "requests": "requests",
    "readOnlyRootFilesystem": "readonly_root_filesystem",
    "namespace": "namespace",
}


def stack_entry(
    request: Mapping[str, Any], language: str, handler: str, arguments: Mapping[str, str]
) -> dict[str, Any]:
    """Return the entry of a function.

    Args:
        request: Its deploy request.
        language: The template's name.
        handler: The function's folder.
        arguments: Build arguments.
    """
    entry: dict[str, Any] = {"lang": language, "handler": handler, "image": request["image"]}
    if arguments:
        entry["build_args"] = dict(arguments)
    for field, name in _FIELDS.items():
        if request.get(field):
            entry[name] = request[field]
    return entry


def stack_text(gateway: str, functions: Mapping[str, Any]) -> str:
    """Write the file.

    Args:
        gateway: The gateway's URL.
        functions: Entries by the functions' names.
    """
    provider = {"name": "openfaas", "gateway": gateway}
    lines = [_HEAD.rstrip(), 'version: "1.0"', "provider:", *written(provider, 1), "functions:"]
    return "\n".join([*lines, *written(dict(sorted(functions.items())), 1)]) + "\n"


def functions_in(text: bytes) -> dict[str, Any]:
    """Read the entries of such a file; nothing of one that cannot be read."""
    import yaml

    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    functions = found.get("functions") if isinstance(found, dict) else None
    if not isinstance(functions, dict):
        return {}
    return {str(name): entry for name, entry in functions.items() if isinstance(entry, dict)}


def written(value: Mapping[str, Any], depth: int) -> list[str]:
    """Write a mapping, one key a line."""
    lines = []
    for key, each in value.items():
        start = f"{'  ' * depth}{key_text(str(key))}:"
        if isinstance(each, Mapping):
            lines += [start, *written(each, depth + 1)] if each else [f"{start} {{}}"]
        elif isinstance(each, list | tuple):
            items = [f"{'  ' * (depth + 1)}- {scalar(item)}" for item in each]
            lines += [start, *items] if items else [f"{start} []"]
        else:
            lines.append(f"{start} {scalar(each)}")
    return lines


def key_text(key: str) -> str:
    """Write a key, plain where YAML reads it as text."""
    return key if _PLAIN.match(key) and key.lower() not in _WORDS else scalar(key)


def scalar(value: Any) -> str:
    """Write a text in double quotes, and a number or truth value as such."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return '"' + "".join(map(escaped, str(value))) + '"'


def escaped(letter: str) -> str:
    """Write a character so that neither YAML nor faas-cli sees anything else in it (YAML 1.2, 5.7)."""
    if letter == '"':
        return '\\"'
    if letter == "\n":
        return "\\n"
    if letter in "$\\" or not letter.isprintable():
        code = ord(letter)
        return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
    return letter
