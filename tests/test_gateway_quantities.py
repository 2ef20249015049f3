"""Kubernetes' quantities, and the names of images, as the docker provider reads them."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from away.gateway.quantities import Unreadable, memory_bytes, nano_cpus
from away.gateway.references import parse, with_host

# As Kubernetes' documentation of resource.Quantity lists them.
SUFFIXES = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
    "m": Fraction(1, 10**3), "u": Fraction(1, 10**6), "n": Fraction(1, 10**9),
}  # fmt: skip
EXPONENTS = {f"{e}{sign}{number}": Fraction(10) ** int(f"{sign}{number}")
             for e in "eE" for sign in ("", "+", "-") for number in (0, 1, 3, 12)}  # fmt: skip
NUMBERS = st.one_of(
    st.integers(0, 10**9).map(str),
    st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)).map(lambda two: f"{two[0]}.{two[1]}"),
    st.integers(0, 999).map(lambda number: f".{number}"),
    st.integers(0, 999).map(lambda number: f"{number}."),
)


@given(NUMBERS, st.sampled_from(sorted({**SUFFIXES, **EXPONENTS})), st.sampled_from(["", "+"]))
@example("128", "Mi", "")
@example("1.5", "G", "")
def test_a_quantity_is_its_number_times_its_suffix_rounded_up(number, suffix, sign):
    whole, _, part = number.partition(".")
    value = Fraction(int(whole or 0)) + (Fraction(int(part), 10 ** len(part)) if part else 0)
    value *= {**SUFFIXES, **EXPONENTS}[suffix]
    for read, unit in ((memory_bytes, 1), (nano_cpus, 10**9)):
        wanted = ceil(value * unit)
        if wanted >= 2**63:
            with pytest.raises(Unreadable, match="more than any machine has"):
                read(sign + number + suffix)
        else:
            assert read(sign + number + suffix) == wanted


@given(st.text(max_size=12))
@example("1 Mi")
@example("1mi")
@example("١٢٨Mi")
@example("1e")
@example("1ei")
@example("0x10")
@example("1_000")
@example("NaN")
@example("inf")
def test_any_text_is_a_number_or_refused_in_one_sentence(text):
    for read in (memory_bytes, nano_cpus):
        try:
            said = read(text)
        except Unreadable as error:
            said = str(error)
        if isinstance(said, int):
            assert 0 <= said < 2**63
        else:
            assert "\n" not in said
            assert said.startswith(repr(text)[:10])


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "Mi",
        "-1",
        "-1Mi",
        "128MB",
        "128mb",
        "1Kib",
        "1K",
        "1ki",
        "1e3Mi",
        "1,5",
        ".",
        "1ei",
        "1Ei1",
    ],
)
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(Unreadable, match="is no quantity as Kubernetes writes them"):
        memory_bytes(text)


@pytest.mark.parametrize(
    ("short", "whole"),
    [
        ("x", "docker.io/library/x:latest"),
        ("x:1", "docker.io/library/x:1"),
        ("team/x", "docker.io/team/x:latest"),
        ("docker.io/x", "docker.io/library/x:latest"),
        ("ghcr.io/x", "ghcr.io/x:latest"),
        ("localhost/x:2", "localhost/x:2"),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest"),
        ("x@sha256:" + "a" * 64, "docker.io/library/x@sha256:" + "a" * 64),
        ("x:1@sha256:" + "a" * 64, "docker.io/library/x:1@sha256:" + "a" * 64),
    ],
)
def test_an_image_is_named_whole_as_containerd_does(short, whole):
    found = parse(short)
    assert found is not None
    assert with_host(found) == whole
    again = parse(whole)
    assert again is not None
    assert with_host(again) == whole
