"""What looks like a secret by its name or its form, so that a person looks before it is published.

A secret that this process knows is refused (:mod:`away.capture.leaks`); this is for those that it does
not know, and can be wrong either way. No value leaves this module, only what it looks like.
"""

from __future__ import annotations

import ast
import re
from itertools import islice
from typing import NamedTuple

from away.syntax_trees import parse

__all__ = ["Suspect", "suspects_in", "suspicion"]

# Words of a name, between underscores or capitals: API_KEY, apiKey, db-password.
_NAMED = re.compile(
    r"(?:^|[_\W])(?:pass(?:word|wd|phrase)|pwd|secret|token|credentials?|(?:api|access|private|"
    r"secret|signing|encryption|master|service)[_-]?key|auth|authorization|bearer|dsn)(?:$|[_\W\d])"
    # A cookie alone; a COOKIE_NAME is none.
    r"|^(?:set[_-])?cookie$"
)
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# How the keys of well-known services begin, as their own documentation says; private keys in PEM
# (RFC 7468), JSON web tokens (RFC 7519), and URLs with a password (RFC 3986, 3.2.1).
_FORMS = (
    ("a private key", re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY")),
    ("a key of AWS", re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")),
    ("a token of GitHub", re.compile(r"\b(?:gh[pousr]_\w{30,}|github_pat_\w{30,})")),
    ("a token of GitLab", re.compile(r"\bglpat-[\w-]{20,}")),
    ("a token of PyPI", re.compile(r"\bpypi-[\w-]{30,}")),
    ("a token of Slack", re.compile(r"\bxox[abposr]-[\w-]{10,}")),
    ("a key of Google", re.compile(r"\bAIza[\w-]{35}")),
    ("an API key", re.compile(r"\b[sr]k[-_](?:live|test|proj|ant)?[-_]?[\w-]{20,}")),
    ("a JSON web token", re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.")),
    ("a URL with a password", re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s:/@]*:[^\s/@]{3,}@")),
    # RFC 6750 and RFC 7617
    ("an Authorization header", re.compile(r"^(?:Bearer|Basic) +[\w.~+/-]{6,}=*$")),
)
# What stands in for a secret in an example, or names where it is kept.
_HARMLESS = re.compile(r"(?i)^(?:|x+|\*+|\.+|…|none|null|true|false|changeme|example|<.*>|\$.*)$")
_SHORTEST = 4
# Values may be parts of themselves.
_DEEPEST = 10
# Secrets are short, and stand where a person would see them too.
_LOOKED_AT, _MOST_ITEMS, _FILE_LOOKED_AT = 4096, 200, 1_000_000


class Suspect(NamedTuple):
    """Something that looks like a secret: where it is, and what it looks like."""

    where: str
    what: str


def suspicion(name: str, value: object, depth: int = 0) -> str:
    """Tell what makes a named value look like a secret; an empty text where nothing does.

    Args:
        name: The variable's or the key's name; of a path, its last part counts.
        value: What it has. Texts and bytes are looked into, and what dicts and lists hold of them.
        depth: In how many dicts and lists it stands.
    """
    if isinstance(value, bytes):
        value = value[:_LOOKED_AT].decode(errors="replace")
    if isinstance(value, str):
        return _of_text(name, value[:_LOOKED_AT])
    # Of just these types, since others could run code of their own when they are looked into.
    if depth >= _DEEPEST:
        return ""
    if type(value) is dict:
        pairs = list(islice(value.items(), _MOST_ITEMS))
    elif type(value) in (list, tuple, set, frozenset):
        pairs = [("", each) for each in islice(value, _MOST_ITEMS)]  # type: ignore[call-overload]
    else:
        return ""
    found = (suspicion(key if isinstance(key, str) else "", each, depth + 1) for key, each in pairs)
    what = next(filter(None, found), "")
    if not what or depth:
        return what
    return f"has an entry that {what}"


def _of_text(name: str, text: str) -> str:
    form = next((what for what, form in _FORMS if form.search(text)), "")
    if form:
        return f"holds what looks like {form}"
    plain = _CAPITAL.sub("_", name).lower()
    if _NAMED.search(plain) and len(text) >= _SHORTEST and not _HARMLESS.match(text.strip()):
        return "has the name of a secret"
    return ""


def suspects_in(path: str, data: bytes) -> list[Suspect]:
    """List what looks like a secret in a file that is packed, by its lines.

    Args:
        path: The file's name; Python source is read as Python reads it.
        data: Its bytes.
    """
    if path.endswith(".py"):
        try:
            return _in_source(path, parse(data))
        except (SyntaxError, ValueError, RecursionError):
            pass  # what does not parse is looked at as text
    found = []
    for number, line in enumerate(data[:_FILE_LOOKED_AT].decode(errors="replace").split("\n"), 1):
        what = suspicion("", line)
        if what:
            found.append(Suspect(f"{path}, line {number}", what))
    return found


def _in_source(path: str, tree: ast.AST) -> list[Suspect]:
    found: dict[int, str] = {}
    for node in ast.walk(tree):
        for name, value in _named_texts(node):
            what = suspicion(name, value.value)
            if what:
                # A text comes once with its name, and then without one.
                found.setdefault(value.lineno, f"{name} {what}" if name else what)
    return [Suspect(f"{path}, line {line}", found[line]) for line in sorted(found)]


def _named_texts(node: ast.AST) -> list[tuple[str, ast.Constant]]:
    """List the texts that a piece of source gives a name to, or that it just has."""
    pairs: list[tuple[str, ast.AST | None]] = []
    if isinstance(node, ast.Assign):
        pairs = [(_name(target), node.value) for target in node.targets]
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
        pairs = [(_name(node.target), node.value)]
    elif isinstance(node, ast.keyword):
        pairs = [(node.arg or "", node.value)]
    elif isinstance(node, ast.Dict):
        pairs = [
            (key.value, value)
            for key, value in zip(node.keys, node.values, strict=True)
            if isinstance(key, ast.Constant) and isinstance(key.value, str)
        ]
    elif isinstance(node, ast.Constant):
        pairs = [("", node)]
    return [
        (name, value)
        for name, value in pairs
        if isinstance(value, ast.Constant) and isinstance(value.value, str | bytes)
    ]


def _name(target: ast.AST) -> str:
    return str(getattr(target, "id", getattr(target, "attr", "")))
