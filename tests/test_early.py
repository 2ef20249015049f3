"""Requirements fetched before the base image's C library is known: the same wheels, or none."""

from __future__ import annotations

import socket
import tarfile
import time

import pytest

from away.publish.early import Early, runs_on
from away.publish.wheels import Target, requirements_layer
from tests.test_wheels import TAGS, cache, index, pin, wheel  # noqa: F401 - fixtures


def made(cache, *pins, target, early=None):  # noqa: F811
    cache.mkdir(exist_ok=True)
    return requirements_layer(pins, target, cache, docker=False, early=early)


TARGETS = [
    (Target("amd64", "3.11", (2, 36)), True),
    # the best wheel of all is too new for these
    (Target("amd64", "3.11", (2, 31)), False),
    (Target("amd64", "3.11"), False),
    (Target("amd64", "3.11", (0, 0)), False),
    (Target("amd64", "3.12", (2, 36)), False),
    (Target("arm64", "3.11", (2, 36)), False),
    (Target("amd64", "3.11", here=True), False),
]


@pytest.mark.parametrize(("target", "taken"), TARGETS, ids=lambda each: str(each))
def test_what_was_fetched_early_makes_the_same_layer(index, tmp_path, target, taken):  # noqa: F811
    for each in (*TAGS, "py3-none-any"):
        wheel(index, "away_built", "1.0", each)
    late = made(tmp_path / "late", pin("away-built"), target=target)
    place = tmp_path / "early"
    place.mkdir()
    early = Early((pin("away-built"),), place)
    early.begin("amd64", "3.11")
    try:
        assert bool(early.take((pin("away-built"),), target)) == taken
        layer = made(place, pin("away-built"), target=target, early=early)
    finally:
        early.end()
    assert layer.digest == late.digest
    assert not list(place.glob("wheels-*"))


def test_what_was_fetched_early_is_for_just_those_distributions(index, cache):  # noqa: F811
    for name in ("away_one", "away_two"):
        wheel(index, name, "1.0")
    target = Target("amd64", "3.11", (2, 36))
    early = Early((pin("away-one"), pin("away-two")), cache)
    early.begin("amd64", "3.11")
    try:
        assert len(early.take((pin("away-one"), pin("away-two")), target)) == 2
        layer = made(cache, pin("away-one"), target=target, early=early)
    finally:
        early.end()
    with tarfile.open(layer.data) as archive:
        names = archive.getnames()
    assert "opt/away/requirements/away_one.py" in names
    assert "opt/away/requirements/away_two.py" not in names


def test_one_set_is_fetched_early_once_at_a_time(index, cache):  # noqa: F811
    wheel(index, "away_one", "1.0")
    first, second = (Early((pin("away-one"),), cache) for _ in range(2))
    first.begin("amd64", "3.11")
    second.begin("amd64", "3.11")
    target = Target("amd64", "3.11", (2, 36))
    assert second.take((pin("away-one"),), target) == []
    assert len(first.take((pin("away-one"),), target)) == 1
    first.end()
    third = Early((pin("away-one"),), cache)
    third.begin("amd64", "3.11")
    assert len(third.take((pin("away-one"),), target)) == 1
    third.end()


def test_what_cannot_be_fetched_early_is_asked_for_again_and_told(index, cache):  # noqa: F811
    early = Early((pin("away-gone"),), cache)
    early.begin("amd64", "3.11")
    target = Target("amd64", "3.11", (2, 36))
    with pytest.raises(Exception, match=r"away-gone==1\.0 is not in the package index"):
        made(cache, pin("away-gone"), target=target, early=early)
    early.end()


def test_the_end_of_a_publish_stops_what_is_being_fetched(cache, monkeypatch):  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/simple")
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        early = Early((pin("away-one"),), cache)
        early.begin("amd64", "3.11")
        silent.settimeout(30)
        connected, _ = silent.accept()
        begun = time.monotonic()
        early.end()
        assert time.monotonic() - begun < 5
        connected.close()
    assert not any(cache.iterdir())


def test_nothing_is_fetched_without_requirements_or_a_folder(cache):  # noqa: F811
    for early in (Early((), cache), Early((pin("away-one"),), None)):
        early.begin("amd64", "3.11")
        assert early.take((pin("away-one"),), Target("amd64", "3.11", (2, 36))) == []
        early.end()
    assert not any(cache.iterdir())


@pytest.mark.parametrize(
    ("tags", "glibc", "runs"),
    [
        ("manylinux_2_17_x86_64.manylinux2014_x86_64", (2, 17), True),
        ("manylinux_2_17_x86_64.manylinux2014_x86_64", (2, 12), False),
        ("manylinux_2_17_x86_64.manylinux_2_39_x86_64", (2, 36), False),
        ("manylinux_2_28_aarch64", (2, 36), False),
        ("any", (2, 5), True),
        ("win_amd64.manylinux_2_17_x86_64", (2, 36), False),
    ],
)
def test_a_wheel_runs_where_all_its_platforms_are(tags, glibc, runs):
    name = f"away_one-1.0-1-cp311-cp311-{tags}.whl"
    assert runs_on([name, "other-1.0-py3-none-any.whl"], Target("amd64", "3.11", glibc)) == runs
