"""The scenarios against a real gateway; ``tests/real/conftest.py`` says how one is named."""

import pytest

from tests.scenarios import *  # noqa: F403

pytestmark = pytest.mark.slow
