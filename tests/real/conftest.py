"""A gateway that is there already: what ``AWAY_TEST_GATEWAY`` and its companions name.

========================  =========================================================================
AWAY_TEST_GATEWAY         its URL
AWAY_TEST_PASSWORD        the password of ``admin``, or of the user that AWAY_TEST_USER names
AWAY_TEST_REGISTRY        HOST[:PORT] of the registry to push to, from which the gateway pulls
AWAY_TEST_BASE            the base image; that of the default if it is left out
AWAY_TEST_INSIDE_URL      the gateway's URL as its functions reach it, where that is another
AWAY_TEST_LOGS            ``no`` where the provider has no logs, as faasd without journald
========================  =========================================================================

Functions that the tests publish there have names of their own and are removed afterwards.
"""

from __future__ import annotations

import os

import pytest

from away import FaasConnection
from tests.places import Place

pytest.register_assert_rewrite("tests.scenarios")

NEEDED = ("AWAY_TEST_GATEWAY", "AWAY_TEST_PASSWORD", "AWAY_TEST_REGISTRY")


@pytest.fixture
def place(own_environment, tmp_path_factory, monkeypatch):
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        pytest.skip(f"no real gateway: {', '.join(missing)} in the environment would name one")
    # Layers of requirements are made once for all tests, as on a machine of a user's.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    options = {"registry": os.environ["AWAY_TEST_REGISTRY"]}
    if base := os.environ.get("AWAY_TEST_BASE"):
        options["base_image"] = base
    with FaasConnection(
        os.environ["AWAY_TEST_GATEWAY"],
        user=os.environ.get("AWAY_TEST_USER", "admin"),
        password=os.environ["AWAY_TEST_PASSWORD"],
        inside_url=os.environ.get("AWAY_TEST_INSIDE_URL"),
    ) as faas:
        made = Place(faas, options, logs=os.environ.get("AWAY_TEST_LOGS") != "no")
        yield made
        made.clear()
