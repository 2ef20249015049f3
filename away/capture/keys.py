"""Files of keys and credentials, told by their names and their first lines.

None of them is packed or sent: what a function needs of them is a secret's to bring.
"""

from __future__ import annotations

import re
from fnmatch import fnmatch
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path, PurePath

__all__ = ["holds_key", "is_key_folder", "looks_like_key"]

# Keys, certificates of servers and what programs keep logins in, whatever their folder.
_NAMES = (
    "*.pem", "*.key", "*.p8", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.keytab", "*.kdbx", "*.ppk",
    "*.ovpn", "*.env", ".env.*", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*",
    ".netrc", "_netrc", ".pgpass", ".my.cnf", ".pypirc", ".npmrc", ".htpasswd", ".s3cfg", ".boto",
    ".git-credentials", ".dockercfg", ".dockerconfigjson", ".vault-token", "kubeconfig",
    "*.kubeconfig", "*.tfstate", "*.tfstate.*", "*.tfvars", "*.tfvars.json",
    "client_secret*.json", "service[-_]account*.json", "application_default_credentials.json",
)  # fmt: skip
# What is a file of logins as data, and a harmless module as source.
_STEMS = frozenset({"credential", "credentials", "secret", "secrets"})
_DATA = frozenset({"", ".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".txt"})
# Examples of such files, which are there to be shown.
_EXAMPLES = (".example", ".sample", ".template", ".dist")
# Where programs keep nothing but logins and keys.
_FOLDERS = frozenset({".ssh", ".aws", ".azure", ".gnupg", ".kube", ".gcloud"})
_LOGIN_FILES = frozenset({".docker/config.json", ".config/gcloud", ".config/gh"})

# A private key in PEM (RFC 7468), as OpenSSH and PGP write theirs too.
_PRIVATE_KEY = re.compile(rb"^-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----", re.MULTILINE)
_LOOKED_AT = 4096
# A key inside source is a text that capture looks at, and most often a test's or a manual's.
_SOURCES = (".py", ".pyi")
# An address with a login in it, and the header that checkouts of build servers have.
_GIT_LOGIN = re.compile(rb"https?://[^/\s@]+@|extraheader", re.IGNORECASE)


def looks_like_key(path: Path) -> bool:
    """Tell a file that by its name is a key, a certificate or a file of secrets.

    Args:
        path: The file; what a link leads to counts too.
    """
    names = (path.name, path.resolve().name if path.is_symlink() else path.name)
    return any(_is_key_name(each.lower()) for each in names)


def _is_key_name(name: str) -> bool:
    if name.endswith(_EXAMPLES):
        return False
    stem, dot, suffix = name.lstrip(".").partition(".")
    return any(fnmatch(name, key) for key in _NAMES) or (stem in _STEMS and dot + suffix in _DATA)


def is_key_folder(path: PurePath) -> bool:
    """Tell a path, from a project's folder on, that lies where programs keep logins and keys."""
    parts = [each.lower() for each in path.parts]
    pairs = {f"{one}/{two}" for one, two in pairwise(parts)}
    return not _FOLDERS.isdisjoint(parts) or not _LOGIN_FILES.isdisjoint(pairs)


def holds_key(path: Path) -> bool:
    """Tell a file that begins with a private key, or of git's with a login, whatever its name.

    Args:
        path: A regular file; one that cannot be read is for its reader to tell of.
    """
    if path.suffix in _SOURCES:
        return False
    try:
        with path.open("rb") as file:
            first = file.read(_LOOKED_AT)
    except OSError:
        return False
    if _PRIVATE_KEY.search(first) is not None:
        return True
    return path.parts[-2:] == (".git", "config") and _GIT_LOGIN.search(first) is not None
