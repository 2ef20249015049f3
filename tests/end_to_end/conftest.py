"""One embedded gateway for all journeys of this folder; each uses functions of its own names."""

from __future__ import annotations

import pytest

import away


@pytest.fixture(scope="session")
def gateway():
    with away.gateway.run(announce=False) as faas:
        yield faas


@pytest.fixture
def faas(gateway, own_environment):
    return away.FaasConnection(gateway.url, user=gateway.user, password=gateway.password)
