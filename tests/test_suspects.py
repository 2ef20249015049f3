"""What looks like a secret by its name or its form, and that no value is ever told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from away import signatures
from away.capture.description import without_suspects
from away.capture.suspects import suspects_in, suspicion

NAMED = "has the name of a secret"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("API_KEY", "abcdef", NAMED),
        ("apiKey", "abcdef", NAMED),
        ("db-password", b"hunter2", NAMED),
        ("SECRET", "abcd", NAMED),
        ("token", "", ""),
        ("token", 5, ""),
        ("token", None, ""),
        ("password", "changeme", ""),
        ("password", "$DB_PASSWORD", ""),
        ("monkey", "banana", ""),
        ("max_tokens", "many", ""),
        ("author", "Ada Lovelace", ""),
        ("data", {"password": "hunter2"}, f"has an entry that {NAMED}"),
        ("data", {"password": 5}, ""),
        ("data", {"a": [{"x-api-key": "hunter2"}]}, f"has an entry that {NAMED}"),
        ("data", {"Authorization": "abcdef"}, f"has an entry that {NAMED}"),
        ("data", {"Cookie": "session=1"}, f"has an entry that {NAMED}"),
        ("COOKIE_NAME", "session", ""),
        ("x", "Bearer abcdef123456", "an Authorization header"),
        ("x", "Basic arithmetic for beginners", ""),
        ("x", "redis://:lovelace@db/0", "a URL with a password"),
        ("x", "postgres://ada:lovelace@db/x", "a URL with a password"),
        ("x", "https://example.com/a@b", ""),
        ("x", b"-----BEGIN RSA PRIVATE KEY-----\n", "a private key"),
        ("x", "AKIA" + "ABCDEFGH23456789", "a key of AWS"),
        ("x", ["ghp_" + "a1" * 18], "a token of GitHub"),
        ("x", "eyJhbGciOiJI.eyJzdWIiOiIx.x", ""),
        ("x", "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.x", "a JSON web token"),
        ("x", "risk-averse-behaviour-of-many-long-words", ""),
    ],
)
def test_a_value_is_suspected_by_its_name_or_its_form(name, value, says):
    found = suspicion(name, value)
    assert says in found
    assert bool(says) == bool(found)


def test_a_default_that_looks_like_a_secret_is_told_to_no_gateway():
    class Login:
        def __repr__(self):
            return "Login(user='ada', password='hunter8')"

    def f(
        n=5,
        conn="postgres://a:hunter5@db/x",
        password="hunter6",
        key=Login(),
        h={"Cookie": "hunter7"},
    ):
        return n

    whole = signatures.describe(f)
    written = signatures.to_annotations(without_suspects(whole))
    assert "hunter" not in str(written)
    read = signatures.signature(signatures.from_annotations(written))
    assert str(read) == "(n=5, conn=…, password=…, key=…, h=…)"


def test_source_is_read_as_python_reads_it():
    source = (
        b"import os\n"
        b'TOKEN = "abcdefg"\n'
        b"x = f(password='hunter22')\n"
        b"d = {'api_key': 'zzzzz'}\n"
        b"token = os.environ['TOKEN']\n"
        b"# PASSWORD = 'in a comment'\n"
        b"self.secret: str = 'abcdef'\n"
        b"url = 'amqp://u:pw12345@h'\n"
    )
    found = suspects_in("a.py", source)
    assert [each.where for each in found] == [f"a.py, line {line}" for line in (2, 3, 4, 7, 8)]
    assert found[0].what == "TOKEN has the name of a secret"
    assert found[-1].what == "url holds what looks like a URL with a password"
    other = suspects_in("a.json", b'{"a": 1,\n "url": "amqp://u:pw12345@h"}\n')
    assert [each.where for each in other] == ["a.json, line 2"]
    # What does not parse is still looked at.
    assert suspects_in("a.py", b"def f(:\n  'amqp://u:pw12345@h'\n")[0].where == "a.py, line 2"


@given(st.binary(max_size=400), st.sampled_from(["a.py", "a.txt"]))
def test_any_file_can_be_looked_at(data, path):
    suspects_in(path, data)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.text(), VALUES)
def test_any_value_can_be_looked_at(name, value):
    suspicion(name, value)


@given(st.text(alphabet="qxz", min_size=8), st.sampled_from(["password", "AUTH_TOKEN", "x"]))
def test_no_value_is_told(value, name):
    assert value not in suspicion(name, value)
    assert value not in suspicion("x", f"amqp://u:{value}@h")
    assert value not in repr(suspects_in("a.py", f"{name} = {value!r}\n".encode()))


def test_what_holds_itself_is_looked_at_once():
    loop: list[object] = []
    loop.append(loop)
    assert suspicion("token", loop) == ""
