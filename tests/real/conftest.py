"""A gateway that is there already: what ``AWAY_TEST_GATEWAY`` and its companions name.

========================  =========================================================================
AWAY_TEST_GATEWAY         its URL
AWAY_TEST_PASSWORD        the password of ``admin``, or of the user that AWAY_TEST_USER names
AWAY_TEST_REGISTRY        HOST[:PORT] of the registry to push to, from which the gateway pulls
AWAY_TEST_BASE            the base image; if it is left out ``python:<minor>-slim``, of that registry
                          or of Docker Hub
AWAY_TEST_INSIDE_URL      the gateway's URL as its functions reach it; if it is left out that of
                          faasd's bridge where the gateway is faasd's on this machine
AWAY_TEST_LOGS            ``yes`` or ``no``: whether the provider keeps logs; if it is left out
                          faasd is taken to have no journal
========================  =========================================================================

Functions that the tests publish there have names of their own and are removed afterwards.
"""

from __future__ import annotations

import os
import sys
from urllib.parse import urlsplit

import pytest

from away import FaasConnection
from tests.places import Place

pytest.register_assert_rewrite("tests.scenarios")

# The gateway's address on the bridge that faasd makes for its functions (its 10-openfaas.conflist).
FAASD_BRIDGE = "http://10.62.0.1:{}"
NEEDED = ("AWAY_TEST_GATEWAY", "AWAY_TEST_PASSWORD", "AWAY_TEST_REGISTRY")


@pytest.fixture
def place(own_environment, tmp_path_factory, monkeypatch):
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        pytest.skip(f"no real gateway: {', '.join(missing)} in the environment would name one")
    # Layers of requirements are made once for all tests, as on a machine of a user's.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    options = {
        "registry": os.environ["AWAY_TEST_REGISTRY"],
        "base_image": os.environ.get("AWAY_TEST_BASE") or f"python:{minor}-slim",
    }
    with FaasConnection(
        os.environ["AWAY_TEST_GATEWAY"],
        user=os.environ.get("AWAY_TEST_USER", "admin"),
        password=os.environ["AWAY_TEST_PASSWORD"],
        inside_url=os.environ.get("AWAY_TEST_INSIDE_URL"),
    ) as faas:
        is_faasd = faas.info()["provider"]["provider"] == "faasd"
        parts = urlsplit(faas.url)
        if is_faasd and faas.inside_url is None and parts.hostname in ("127.0.0.1", "localhost"):
            faas.inside_url = FAASD_BRIDGE.format(parts.port)
        logs = os.environ.get("AWAY_TEST_LOGS", "no" if is_faasd else "yes") != "no"
        made = Place(faas, options, logs=logs)
        yield made
        made.clear()
