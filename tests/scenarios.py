"""What users write, published to and called at whatever gateway the fixture ``place`` names.

``tests/containers`` and ``tests/real`` collect these tests, each with a ``place`` of its own.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import inspect
import json
import os
import subprocess
import sys
import textwrap
from importlib.metadata import version

import pytest
import requests

from away import FaasConnection, builder
from away.exceptions import CannotTravel, UnsafeWarning
from tests.places import Place

SECRET = "qv7-Zc3-uN9-eX1-horse"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Write a project of the user's own, of which a module can be imported here."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(files: dict[str, str]):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        importlib.invalidate_caches()
        return tmp_path

    yield write
    for name in set(sys.modules) - before:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


def test_a_function_is_published_called_and_imported_by_name(place: Place, monkeypatch):
    @place.publish("fibonacci")
    def fibonacci(n: int) -> int:
        """Give the n-th Fibonacci number."""
        a, b = 0, 1
        for _ in range(n):
            a, b = b, a + b
        return a

    assert fibonacci(10) == 55
    assert fibonacci(1000) > 1 << 600
    monkeypatch.setenv("AWAY_GATEWAY_SOMEWHERE_URL", place.faas.url)
    monkeypatch.setenv("AWAY_GATEWAY_SOMEWHERE_USER", place.faas.user)
    monkeypatch.setenv("AWAY_GATEWAY_SOMEWHERE_PASSWORD", place.faas.password or "")
    gateway = "away.remote.somewhere"
    somewhere = importlib.import_module(gateway)
    try:
        imported = somewhere[place.name("fibonacci")]
        assert imported(n=10) == 55
        assert str(inspect.signature(imported)) == "(n: int) -> int"
        assert imported.__doc__ == "Give the n-th Fibonacci number."
    finally:
        del sys.modules[gateway]


def test_a_module_is_published_whole_and_its_functions_called_by_path(place: Place, monkeypatch):
    name = place.name("textwrap")
    made = builder.publish_module("textwrap", place.faas, name=name, verbose=False, **place.options)
    assert made.dedent("  x") == "x"
    monkeypatch.setenv("AWAY_GATEWAY_SOMEWHERE_URL", place.faas.url)
    monkeypatch.setenv("AWAY_GATEWAY_SOMEWHERE_USER", place.faas.user)
    monkeypatch.setenv("AWAY_GATEWAY_SOMEWHERE_PASSWORD", place.faas.password or "")
    gateway = "away.remote.somewhere"
    try:
        module = importlib.import_module(f"{gateway}.{name.replace('-', '_')}")
        assert module.fill("hello world", 5) == "hello\nworld"
        assert str(inspect.signature(module.wrap)) == "(text, width=70, **kwargs)"
    finally:
        for each in [key for key in sys.modules if key.startswith(gateway)]:
            del sys.modules[each]
    listing = place.faas.invoke(name)
    assert "/shorten" in listing.text


def test_a_republish_without_change_deploys_nothing(place: Place):
    def publish():
        @place.publish("same")
        def same(n):
            return n

        return same

    assert publish()(1) == 1
    before = place.described("same")["createdAt"]
    assert publish()(2) == 2
    assert place.described("same")["createdAt"] == before


def test_arguments_are_bound_and_errors_raised_as_they_are_here(place: Place):
    @place.publish("sum-two-numbers")
    def sum_two_numbers(a, b):
        return a + b

    assert sum_two_numbers(1, 2) == 3
    assert sum_two_numbers(b="y", a="x") == "xy"
    assert sum_two_numbers((1,), (2.5, b"\x00", None)) == (1, 2.5, b"\x00", None)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'b'"):
        sum_two_numbers(1)
    with pytest.raises(TypeError, match="unsupported operand"):
        sum_two_numbers(1, "2")


def test_a_coroutine_function_stays_one(place: Place):
    @place.publish("sum-all-numbers")
    async def sum_all_numbers(numbers):
        import asyncio

        await asyncio.sleep(0)
        return sum(numbers)

    assert inspect.iscoroutinefunction(sum_all_numbers)

    async def many():
        return await asyncio.gather(*(sum_all_numbers([n, 2, 3, 4]) for n in range(8)))

    assert asyncio.run(many()) == [n + 9 for n in range(8)]


def test_unsafe_arguments_travel_where_both_sides_opted_in(place: Place):
    with pytest.warns(UnsafeWarning, match="run code"):

        @place.publish("use-unsafe-arg", safe_args=False)
        def use_unsafe_arg(rang):
            return sum(rang)

    assert use_unsafe_arg(range(10)) == 45
    safe = builder.sync_from_name(place.name("use-unsafe-arg"), place.faas)
    with pytest.raises(CannotTravel, match="range"):
        safe(range(10))


def test_a_secret_is_read_inside(place: Place):
    secret = place.secret("added", "123")

    @place.publish("add-secret", secrets=[secret])
    def add_secret(n):
        from away import secret as read

        return n + int(read(secret))

    assert add_secret(1) == 124


def test_what_is_pulled_in_from_a_script_travels_by_value(place: Place):
    percent = 20

    def discounted(total):
        return total * (100 - percent) // 100

    @place.publish("discount")
    def discount(totals):
        return [discounted(each) for each in totals]

    assert discount([100, 250]) == [80, 200]


def test_numpy_is_found_and_goes_along(place: Place):
    @place.publish("mean")
    def mean(rows):
        import numpy as np

        return {"mean": float(np.mean(rows)), "version": np.__version__}

    assert mean([[1, 2], [3, 6]]) == {"mean": 3.0, "version": version("numpy")}


def test_a_package_of_the_users_own_goes_along(place: Place, project):
    project(
        {
            "away_shop/__init__.py": "from away_shop.prices import in_euro\n",
            "away_shop/prices.py": """
                from away_shop import rates

                def in_euro(amount, currency):
                    return amount * rates.RATES[currency]
            """,
            "away_shop/rates.py": "RATES = {'EUR': 1, 'CZK': 0.04}\n",
            "away_till.py": """
                from away_shop import in_euro

                def total(basket):
                    return sum(in_euro(amount, currency) for amount, currency in basket)
            """,
        }
    )
    till = importlib.import_module("away_till")
    total = place.publish("total")(till.total)
    assert total([(100, "CZK"), (6, "EUR")]) == 10


def test_a_data_file_beside_the_package_goes_along(place: Place, project):
    project(
        {
            "away_words/__init__.py": """
                from importlib.resources import files

                def longest():
                    text = files(__name__).joinpath("words.txt").read_text("utf-8")
                    return max(text.split(), key=len)
            """,
            "away_words/words.txt": "no\nmaybe\nja\n",
        }
    )
    words = importlib.import_module("away_words")
    assert place.publish("longest")(words.longest)() == "maybe"


def test_a_function_calls_another_remote_function(place: Place):
    @place.publish("inner")
    def inner(n):
        return n * 2

    @place.publish("outer")
    def outer(n):
        return inner(n) + 1

    assert outer(20) == 41


def test_a_script_is_published_from_the_command_line(place: Place, tmp_path):
    name = place.name("from-script")
    options = {key: value for key, value in place.options.items() if isinstance(value, str)}
    script = tmp_path / "app.py"
    script.write_text(
        textwrap.dedent(f"""
        from away import builder, FaasConnection

        RATE = 3

        @builder.publish(FaasConnection.named("somewhere"), name={name!r}, **{options!r})
        def tripled(n):
            return n * RATE

        if __name__ == "__main__":
            print("answer", tripled(14))
        """)
    )
    environment = {
        **os.environ,
        "AWAY_GATEWAY_SOMEWHERE_URL": place.faas.url,
        "AWAY_GATEWAY_SOMEWHERE_USER": place.faas.user,
        "AWAY_GATEWAY_SOMEWHERE_PASSWORD": place.faas.password or "",
    }
    for command in (["-m", "away", "publish", str(script)], [str(script)]):
        done = subprocess.run(
            [sys.executable, *command], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert "answer 42" in done.stdout
    # The script found what the command had published, and sent nothing.
    assert "unchanged" in done.stderr
    assert "push" not in done.stderr


def test_others_call_by_plain_http(place: Place):
    @place.publish("plain")
    def plain(a, b):
        return {"sum": a + b}

    answer = requests.post(
        f"{place.faas.url}/function/{place.name('plain')}", data="[1, 2]", timeout=30
    )
    assert (answer.status_code, json.loads(answer.text)) == (200, {"sum": 3})


def test_a_change_is_what_the_next_call_runs(place: Place):
    answers = []
    for i in range(3):

        @place.publish("changing", env={"TURN": str(i)})
        def changing():
            import os

            return i, os.environ["TURN"]

        answers.append(changing())
    assert answers == [(i, str(i)) for i in range(3)]


def spellings(secret: str) -> list[bytes]:
    """Give the ways in which a text would show in a file, a log or a JSON document."""
    return [secret.encode(), base64.b64encode(secret.encode()), secret.encode().hex().encode()]


def seen_of(place: Place, function: object, word: str) -> bytes:
    """Join all that anybody can see of a function without being inside it."""
    logs = [each.text for each in place.faas.logs(place.name(word))] if place.logs else []
    assert not place.logs or any("asked for" in each for each in logs)
    info = place.faas.function(place.name(word))
    shown = [repr(function), repr(place.faas), repr(info), *logs]
    shown += [place.answer("functions"), json.dumps(place.described(word))]
    return "\n".join(shown).encode()


def test_a_secret_shows_nowhere_that_it_can_be_read_from_outside(place: Place, capfd, caplog):
    caplog.set_level(0)
    secret = place.secret("token", SECRET)

    @place.publish("guarded", secrets=[secret], verbose=True)
    def guarded(guess):
        from away import secret as read

        token = read(secret)
        print("asked for", len(token))
        if guess is None:
            raise ValueError("no guess")
        return guess == token

    assert guarded(SECRET) is True
    with pytest.raises(ValueError, match="no guess") as raised:
        guarded(None)
    printed = capfd.readouterr()
    texts = seen_of(place, guarded, "guarded")
    texts += f"{printed}{caplog.text}{raised.value!r}{raised.value.__notes__}".encode()
    assert b"guarded" in texts
    for spelling in spellings(SECRET):
        assert spelling not in texts


def test_a_connection_made_anew_finds_what_was_published(place: Place):
    @place.publish("kept")
    def kept(n):
        return n + 1

    with FaasConnection(
        place.faas.url, user=place.faas.user, password=place.faas.password
    ) as other:
        assert builder.sync_from_name(place.name("kept"), other)(1) == 2
        other.remove(place.name("kept"))
        assert place.name("kept") not in other.get_faas_functions()
