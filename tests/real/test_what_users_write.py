"""The scenarios against a real gateway; ``tests/real/conftest.py`` says how one is named."""

from tests.scenarios import *  # noqa: F403
