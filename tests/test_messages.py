"""What Away says when something is wrong: bad inputs, and the sentence that each of them gives.

Every row does something wrong against real parts: the embedded gateway, a server that misbehaves,
files, scripts. What is told has to be one sentence that says what is wrong, where, and what to do;
`tests/bad_inputs.py` has the rules that hold for all of them. Rows without an outcome look like
mistakes and have to work.
"""

from __future__ import annotations

import json
import sys
import threading

import pytest

import away
from away import FaasConnection, builder, protocol
from away.exceptions import (
    AnswerLost,
    AuthenticationRefused,
    AwayError,
    CallTimedOut,
    CannotTravel,
    CaptureRefused,
    ConfigError,
    FunctionNotFound,
    FunctionNotReady,
    GatewayError,
    GatewayUnreachable,
    NameRefused,
    ProtocolMismatch,
    PublishFailed,
    UnknownGateway,
)
from tests import servers
from tests.bad_inputs import PASSWORD, TOKEN, Place, Table, check_sentence, check_travels
from tests.images import Registry
from tests.servers import answer

bad = Table()
LOGIN_PAGE = answer(302, b"<html>", {"Location": f"https://sso.example/in?next={TOKEN}"})
HTML = answer(200, b"<html>Welcome</html>", {"Content-Type": "text/html"})
ONE_FUNCTION = servers.json([{"name": "fibonacci", "image": "x", "namespace": ""}])


def spoken(body: bytes, **headers: str) -> servers.Behaviour:
    """Answer as Away's runtime would, with headers of one's own."""
    stated = {
        "Content-Type": protocol.CONTENT_TYPE,
        protocol.PROTOCOL_HEADER: "1",
        protocol.LENGTH_HEADER: str(len(body)),
    }
    return answer(200, body, {**stated, **{key.replace("_", "-"): headers[key] for key in headers}})


def published_on(faas: FaasConnection, **options: object):
    """Make the proxy of a function that Away published, without publishing it."""
    return away.RemoteFunction(faas, "fibonacci", dialect="protocol", **options)


# ---------------------------------------------------------------- names


@bad("a name with a slash", NameRefused, "'../system/info'", "letters, digits")
def _(place):
    builder.sync_from_name("../system/info", place.faas())


@bad("an empty name", NameRefused, "'' cannot be the name of a function", "letters, digits")
def _(place):
    builder.sync_from_name("", place.faas())


@bad("a name of 64 letters to publish under", NameRefused, "63", "name=")
def _(place):
    module = place.module("long_name", "def f(): return 1\n")
    builder.mirror_in_faas(module.f, place.faas(), name="f" * 64)


@bad("a lambda without a name", NameRefused, "a lambda has no name", "pass name=")
def _(place):
    builder.mirror_in_faas(lambda: 1, place.faas())


@bad("a name beyond ASCII without another", NameRefused, "café", "pass name=")
def _(place):
    builder.mirror_in_faas(place.module("coffee", "def café(): return 1\n").café, place.faas())


@bad("a method without a name", NameRefused, "Thing.run", "is a method", "pass name=")
def _(place):
    module = place.module("methods", "class Thing:\n    def run(self): return 1\n")
    builder.mirror_in_faas(module.Thing().run, place.faas())


# ---------------------------------------------------------------- configuration


@bad(
    "an unknown key in a project's file",
    ConfigError,
    "unknown key 'pasword' of gateway 'dev'",
    "the nearest known is 'password'",
    "away.toml line 3",
)
def _(place):
    place.write("away.toml", f'[gateways.dev]\nurl = "http://a"\npasword = "{PASSWORD}"\n')
    FaasConnection.named("dev")


@bad("an unknown gateway", UnknownGateway, "no gateway is called 'dve'", "nearest known is 'dev'")
def _(place):
    place.configured("dev", "http://dev.example")
    FaasConnection.named("dve")


@bad("no gateway at all", UnknownGateway, "'shop'", "set AWAY_GATEWAY_SHOP_URL", "config.toml")
def _(place):
    FaasConnection.named("shop")


@bad("TOML that is none", ConfigError, "pyproject.toml line 2 is not TOML")
def _(place):
    place.write("pyproject.toml", "[tool.away.gateways.dev]\nurl = http://a\n")
    FaasConnection.named("dev")


@bad("a URL without a scheme", ConfigError, "url of gateway 'dev'", "http://", "away.toml line 2")
def _(place):
    place.write("away.toml", '[gateways.dev]\nurl = "faas.example:8080"\n')
    FaasConnection.named("dev")


@bad(
    "a password in a configured URL", ConfigError, "has no '@'", "environment AWAY_GATEWAY_DEV_URL"
)
def _(place):
    place.configured("dev", f"http://admin:{PASSWORD}@faas.example", None)
    FaasConnection.named("dev")


@bad("a password in a URL in the code", ConfigError, "has no '@'", "user and password")
def _(place):
    FaasConnection(f"http://admin:{PASSWORD}@faas.example")


@bad("a reserved name", ConfigError, "'local' is kept for the running embedded gateway", "line 1")
def _(place):
    place.write("away.toml", '[gateways.local]\nurl = "http://a"\n')
    FaasConnection.named("dev")


@bad(
    "a timeout in words",
    ConfigError,
    "timeout of gateway 'dev' must be a positive number of seconds, not 'soon'",
    "environment AWAY_GATEWAY_DEV_TIMEOUT",
)
def _(place):
    place.configured("dev", "http://a")
    place.set(AWAY_GATEWAY_DEV_TIMEOUT="soon")
    FaasConnection.named("dev")


@bad(
    "a password file that is missing", ConfigError, "password_file of gateway 'dev'", "no such file"
)
def _(place):
    place.write("away.toml", '[gateways.dev]\nurl = "http://a"\npassword_file = "pw"\n')
    FaasConnection.named("dev")


@bad(
    "a project that names a file outside",
    ConfigError,
    "password_file of gateway 'dev'",
    "away.toml line 3",
    "outside",
)
def _(place):
    place.write("home/pw", PASSWORD)
    place.write(
        "project/away.toml", '[gateways.dev]\nurl = "http://evil"\npassword_file = "../home/pw"\n'
    )
    place.patch.chdir(place.folder / "project")
    FaasConnection.named("dev")


@bad("a mistyped variable", ConfigError, "AWAY_GATEWAY_DEV_PASWORD", "is AWAY_GATEWAY_DEV_PASSWORD")
def _(place):
    place.configured("dev", "http://a", None)
    place.set(AWAY_GATEWAY_DEV_PASWORD=PASSWORD)
    FaasConnection.named("dev")


@bad(
    "an unknown setting in the code",
    ConfigError,
    "configure('dev') knows no pasword=",
    "'password'",
)
def _(place):
    away.configure("dev", url="http://a", pasword=PASSWORD)


@bad("a port that is none", ConfigError, "port", "1 to 65535")
def _(place):
    FaasConnection("localhost", port=123456)


@bad("a password of the wrong type", ConfigError, "password= is text, not list")
def _(place):
    FaasConnection(password=[PASSWORD])


@bad("a negative timeout", ConfigError, "timeout", "seconds", "-1")
def _(place):
    FaasConnection(timeout=-1)


@bad("AWAY_PUBLISH in other words", ConfigError, "AWAY_PUBLISH is 'later'", "'auto' or 'never'")
def _(place):
    place.set(AWAY_PUBLISH="later")
    builder.mirror_in_faas(place.function(), place.faas(), name="x")


@bad("no embedded gateway that runs", UnknownGateway, "no embedded gateway", "away up")
def _(place):
    return place.script("from away import FaasConnection\nFaasConnection.local()\n")


@bad("a secret outside of a function", ConfigError, "no secret 'key' here", "secrets=[...]")
def _(place):
    place.set(AWAY_SECRETS_DIR=str(place.folder / "nowhere"))
    away.secret("key")


# ---------------------------------------------------------------- arguments


@bad(
    "an argument that cannot travel",
    CannotTravel,
    "argument 'order'['items'][1] is a",
    "Thing, which cannot travel",
    "send plain data instead or publish with safe_args=False",
)
def _(place):
    class Thing:
        pass

    stub = builder.mirror_in_faas(
        place.function("def f(order): return 1"), place.faas(), name="buys"
    )
    stub({"items": [1, Thing()]})


@bad("a call that does not fit", TypeError, "add() missing 1 required positional argument: 'b'")
def _(place):
    @builder.faas_function(place.faas())
    def add(a, b): ...

    add(1)


@bad("a keyword that is not there", TypeError, "add() got an unexpected keyword argument 'c'")
def _(place):
    @builder.faas_function(place.faas())
    def add(a, b): ...

    add(1, b=2, c=3)


@bad("several arguments to a foreign function", CannotTravel, "2 arguments", "pass pack_args=")
def _(place):
    builder.sync_from_name("cat", place.faas())(1, 2)


@bad("a keyword for pack_args", ConfigError, "the parameter 'c'", "leave pack_args out")
def _(place):
    @builder.faas_function(place.faas(), pack_args=str)
    def add(a, *, c): ...


@bad(
    "a pack that gives no text", CannotTravel, "pack_args of `add` gave a bytes", "must give a str"
)
def _(place):
    @builder.faas_function(place.faas(), pack_args=lambda args: b"x")
    def add(a): ...

    add(1)


@bad("an argument of 201 levels", CannotTravel, "argument 'n'[0]", "nested deeper than 200 levels")
def _(place):
    deep: list = []
    for _level in range(201):
        deep = [deep]
    published_on(place.faas(), description=_described())(deep)


@bad("an argument that holds itself", CannotTravel, "argument 'n'[0]", "contains itself")
def _(place):
    loop: list = []
    loop.append(loop)
    published_on(place.faas(), description=_described())(loop)


def _described():
    from away import signatures

    return signatures.describe(lambda n: n)


@bad(
    "pickled arguments to a function published safe",
    ProtocolMismatch,
    "a function published safe never reads",
    "call it without safe_args=False, or publish it with it",
)
def _(place):
    safe = builder.mirror_in_faas(place.function(), place.faas(), name="doubles-safely")
    safe.options(safe_args=False)(range(3))


@bad(
    "a result that cannot travel",
    CannotTravel,
    "the result of 'gives-a-range' is a range",
    "publish with safe_args=False",
)
def _(place):
    function = place.function("def f(): return range(3)")
    builder.mirror_in_faas(function, place.faas(), name="gives-a-range")()


@bad("a decorator that is given a URL", ConfigError, "a FaasConnection is wanted", "type str")
def _(place):
    @builder.publish("http://127.0.0.1:8080")
    def f(): ...


@bad("an option that no stub has", TypeError, "'safe_arg'", "'safe_args'")
def _(place):
    @builder.faas_function(place.faas(), safe_arg=False)
    def f(): ...


# ---------------------------------------------------------------- a gateway that is not there


@bad("a gateway that is down", GatewayUnreachable, "refused", "start")
def _(place):
    port = place.closing.enter_context(servers.refusing())
    place.to(f"http://127.0.0.1:{port}", timeout=0.2).functions()


@bad("a gateway that cannot be connected to", GatewayUnreachable, "0.2 s", "connect_timeout")
def _(place):
    port = place.closing.enter_context(servers.unreachable())
    place.to(f"http://127.0.0.1:{port}", connect_timeout=0.2).functions()


@bad(
    "a host that nobody knows",
    GatewayUnreachable,
    "http://nowhere.invalid:8080",
    "no address",
    "correct",
)
def _(place):
    place.to("http://nowhere.invalid:8080").functions()


@bad("https to a server without it", GatewayUnreachable, "does not speak TLS", "write http://")
def _(place):
    url = place.serve(answer()).url.replace("http:", "https:")
    place.to(url).functions()


@bad("authorities that are not there", GatewayUnreachable, "nowhere.pem", "ca_bundle=")
def _(place):
    place.to("https://127.0.0.1:1", ca_bundle=place.folder / "nowhere.pem").functions()


# ---------------------------------------------------------------- a gateway that refuses


@bad(
    "a wrong password",
    AuthenticationRefused,
    "the user 'admin'",
    "correct the user or the password",
)
def _(place):
    place.faas(password=PASSWORD).functions()


@bad("no password", AuthenticationRefused, "no password is known", "password=", "faas-cli login")
def _(place):
    script = {"": answer(401, b"invalid credentials\n")}
    place.against(script, password=None).functions()


@bad("a token that is refused", AuthenticationRefused, "refused the token", "get a new one")
def _(place):
    place.faas(password=None, token=TOKEN).functions()


@bad("publishing with a wrong password", AuthenticationRefused, "the user 'admin'", "correct")
def _(place):
    builder.mirror_in_faas(place.function(), place.faas(password=PASSWORD), name="refused")


@bad("functions that ask for a login", AuthenticationRefused, "auth_functions=True")
def _(place):
    headers = {"Www-Authenticate": 'Basic realm="Restricted"'}
    faas = place.against(answer(401, b"invalid credentials\n", headers))
    builder.sync_from_name("fibonacci", faas)(1)


# ---------------------------------------------------------------- a gateway that says something else


@bad("garbage in place of HTTP", GatewayError, "is not HTTP", "check")
def _(place):
    place.against(servers.raw(b"\x00\x01SSH-2.0-OpenSSH_9.6\r\n\r\n")).functions()


@bad("HTML in place of the list", GatewayError, "not JSON", "text/html", "OpenFaaS gateway")
def _(place):
    place.against(HTML).functions()


@bad(
    "a redirect to a login page", GatewayError, "(302)", "'https://sso.example/in'", "not followed"
)
def _(place):
    place.against(LOGIN_PAGE).functions()


@bad("a call that is redirected", GatewayError, "the call of 'fibonacci'", "not followed")
def _(place):
    builder.sync_from_name("fibonacci", place.against(LOGIN_PAGE))(1)


@bad("publishing to what redirects", PublishFailed, "(compare)", "(302)", "not followed", "correct")
def _(place):
    builder.mirror_in_faas(place.function(), place.against(LOGIN_PAGE), name="moved")


@bad("publishing to a web site", PublishFailed, "not a function as JSON", "OpenFaaS gateway")
def _(place):
    builder.mirror_in_faas(place.function(), place.against(HTML), name="page")


@bad("a URL without its path prefix", GatewayError, "has no GET /system/functions", "path prefix")
def _(place):
    place.against(answer(404, b"404 page not found\n")).functions()


@bad("a path prefix", None)
def _(place):
    server = place.serve({"/faas/system": ONE_FUNCTION, "/faas/function": answer(200, b"55")})
    faas = place.to(f"{server.url}/faas/")
    assert faas.get_faas_functions() == ["fibonacci"]
    assert builder.sync_from_name("fibonacci", faas)(10) == b"55"


@bad("half an answer", AnswerLost, "fibonacci", "may have run")
def _(place):
    faas = place.against(servers.cut(b"5" * 100, 10))
    builder.sync_from_name("fibonacci", faas)(1)


@bad("half an answer that looks whole", AnswerLost, "fibonacci", "may have run")
def _(place):
    published_on(place.against(spoken(b'{"value": 5', X_Away_Length="12")))(1)


@bad("no answer", AnswerLost, "fibonacci", "may have run")
def _(place):
    builder.sync_from_name("fibonacci", place.against(servers.hang_up()))(1)


@bad(
    "an answer that never comes",
    CallTimedOut,
    "'fibonacci'",
    "within the 0.3 s of timeout",
    "raise",
)
def _(place):
    builder.sync_from_name("fibonacci", place.against(servers.hang()), timeout=0.3)(1)


@bad("an answer of another protocol", ProtocolMismatch, "`fibonacci`", "version 99", "upgrade")
def _(place):
    published_on(place.against(spoken(b'{"value": 5}', X_Away_Protocol="99")))(1)


@bad("an answer without the protocol", ProtocolMismatch, "without Away's protocol", "look at")
def _(place):
    published_on(place.against(answer(200, b"55")))(1)


@bad(
    "an envelope that is none",
    ProtocolMismatch,
    "`fibonacci`",
    "(velue)",
    "publish the function again",
)
def _(place):
    published_on(place.against(spoken(b'{"velue": 5}')))(1)


@bad("a pickle that was not asked for", ProtocolMismatch, "fibonacci", "safe_args=False")
def _(place):
    published_on(place.against(spoken(b'{"dill": "gASVAAAAAAAAAE4u"}')))(1)


@bad("a connection closed while it was idle", None)
def _(place):
    server = place.serve(servers.answer_then_close(200, b"55"))
    call = builder.sync_from_name("fibonacci", place.to(server.url))
    for count in range(1, 4):
        assert call(10) == b"55"
        assert len(server.requests) == count, "no call was lost and none was sent twice"
        server.closed.acquire()


@bad("a connection closed as a call goes out", AnswerLost, "fibonacci", "may have run")
def _(place):
    faas = place.against([answer(200, b"55"), servers.reset()])
    call = builder.sync_from_name("fibonacci", faas)
    call(1)
    call(2)


# ---------------------------------------------------------------- functions that are not there


@bad("a function that nobody deployed", FunctionNotFound, "'kat'", "did you mean 'cat'")
def _(place):
    place.faas().function("kat")


@bad("a call of a function that nobody deployed", FunctionNotFound, "no function 'kat'")
def _(place):
    builder.sync_from_name("kat", place.faas())("x")


@bad("a function that is gone since it was published", FunctionNotFound, "no function 'goes-away'")
def _(place):
    faas = place.faas()
    gone = builder.mirror_in_faas(place.function(), faas, name="goes-away")
    assert gone(1) == 1
    faas.remove("goes-away")
    gone(1)


@bad("a function that is gone since it was imported", FunctionNotFound, "no function 'short-lived'")
def _(place):
    faas = place.faas()
    place.configured("shop", faas.url, faas.password)
    builder.mirror_in_faas(place.function(), faas, name="short-lived")
    space = place.imported("from away.remote.shop import short_lived")
    assert space["short_lived"](1) == 1
    faas.remove("short-lived")
    space["short_lived"](1)


@bad("a function that ends in the middle of a call", FunctionNotReady, "'leaves'", "read its log")
def _(place):
    function = place.function("import os\ndef f(): os._exit(3)")
    builder.mirror_in_faas(function, place.faas(), name="leaves")()


@bad("a function that another function replaced", ProtocolMismatch, "was-ours", "look at what")
def _(place):
    faas = place.faas()
    ours = builder.mirror_in_faas(place.function(), faas, name="was-ours")
    assert ours(1) == 1
    faas.update({"service": "was-ours", "image": "process", "envProcess": "cat"})
    ours(1)


# ---------------------------------------------------------------- publishing


@bad("a name that another's function has", NameRefused, "the name cat", "overwrite=True")
def _(place):
    builder.mirror_in_faas(place.function(), place.faas(), name="cat")


@bad("a name that another entry has", NameRefused, "belongs to first:taken", "another name=")
def _(place):
    builder.mirror_in_faas(place.module("first", "def taken(): return 1\n").taken, place.faas())
    builder.mirror_in_faas(place.module("second", "def taken(): return 2\n").taken, place.faas())


@bad(
    "a lock that a function uses", CaptureRefused, "`lock`", "threading.Lock", "inside the function"
)
def _(place):
    lock = threading.Lock()

    def locked():
        with lock:
            return 1

    builder.mirror_in_faas(locked, place.faas())


@bad("a connection that a function uses", CaptureRefused, "`faas`", "FaasConnection.named(")
def _(place):
    faas = place.faas()

    def counts():
        return len(faas.functions())

    builder.mirror_in_faas(counts, faas)


@bad("a file to be packed that holds a password", CaptureRefused, "shop.py, line 2", "named(")
def _(place):
    source = f"from away import FaasConnection\nfaas = FaasConnection(password={PASSWORD!r})\n"
    module = place.module("shop", f"{source}\ndef price(): return 1\n")
    builder.mirror_in_faas(module.price, place.faas())


@bad("a name that has no value yet", CaptureRefused, "`early` uses `later`", "define it above")
def _(place):
    return place.script(
        f"""
        from away import FaasConnection, builder

        @builder.publish(FaasConnection({place.gateway.url!r}))
        def early(): return later()

        def later(): return 1
        """
    )


@bad("a requirement that is nowhere", PublishFailed, "awaytestnone==9.9", "nothing was deployed")
def _(place):
    place.set(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(place.folder), PIP_CONFIG_FILE="/dev/null")
    options = {"requirements": ["awaytestnone==9.9"]}
    builder.mirror_in_faas(place.function(), place.faas(), name="needy", **options)


@bad(
    "a gateway without a registry", PublishFailed, "no registry of its own", "registry='HOST:PORT'"
)
def _(place):
    script = {
        "/system/function/": answer(404),
        "/system/info": answer(200, b"{}"),
        "/v2/": answer(404, b"404 page not found\n"),
    }
    builder.mirror_in_faas(place.function(), place.against(script), name="homeless")


@bad("a registry that is no host", PublishFailed, "registry='http://reg.example'", "HOST:PORT")
def _(place):
    faas = place.faas(registry="http://reg.example")
    builder.mirror_in_faas(place.function(), faas, name="homeless")


@bad(
    "a registry that is down",
    PublishFailed,
    "the registry http://127",
    "correct registry=",
    slow=True,
)
def _(place):
    port = place.closing.enter_context(servers.refusing())
    faas = place.faas(registry=f"127.0.0.1:{port}")
    builder.mirror_in_faas(place.function(), faas, name="homeless", publish_timeout=0.5)


@bad("a base image that is missing", PublishFailed, "no base image away/none:1", "base_image=")
def _(place):
    builder.mirror_in_faas(
        place.function(), place.faas(), name="baseless", base_image="away/none:1"
    )


@bad("a base image of an old Python", PublishFailed, "has Python 3.9", "needs Python 3.11 or later")
def _(place):
    _push_base_of_another_python(place)
    builder.mirror_in_faas(
        place.function(), place.faas(), name="older", base_image="other/python:1"
    )


def _push_base_of_another_python(place):
    gateway = place.gateway
    with Registry(gateway.url, gateway.user, gateway.password) as registry:
        manifest, config = registry.base()
        config["config"]["Labels"]["away.python"] = "3.9.1"
        config_blob = registry.push_blob("other/python", json.dumps(config).encode())
        for layer in manifest["layers"]:
            path = f"/v2/other/python/blobs/uploads/?mount={layer['digest']}&from=away/python"
            registry.call("POST", path, b"")
        manifest["config"] |= config_blob
        headers = {"Content-Type": manifest["mediaType"]}
        path = "/v2/other/python/manifests/1"
        assert registry.call("PUT", path, json.dumps(manifest).encode(), headers)[0] == 201


@bad("a secret that the gateway lacks", PublishFailed, "no secret 'db-pasword'", "create")
def _(place):
    builder.mirror_in_faas(place.function(), place.faas(), name="unkeyed", secrets=["db-pasword"])


@bad(
    "a function that dies when it starts",
    PublishFailed,
    "failed (ready)",
    "nothing runs under that name",
    slow=True,
)
def _(place):
    source = "import os\nif 'AWAY_SECRETS_DIR' in os.environ: os._exit(7)\ndef dies(): return 1\n"
    faas = place.faas()
    builder.mirror_in_faas(
        place.module("dying", source).dies, faas, name="dies", check=False, timeout=1
    )


@bad("a module that fails where it runs", PublishFailed, "no good here", "nothing runs under")
def _(place):
    source = """
    import os
    if "AWAY_SECRETS_DIR" in os.environ:
        raise RuntimeError("no good here")

    def fails(): return 1
    """
    builder.mirror_in_faas(place.module("failing", source).fails, place.faas(), check=False)


@bad(
    "a module that fails in a clean interpreter",
    CaptureRefused,
    "home:homely",
    "only at home",
    "home.py:4: ",
    "move what fails there into the function",
)
def _(place):
    place.patch.setattr(sys, "away_test_marker", True, raising=False)
    source = """
    import sys
    if not hasattr(sys, "away_test_marker"):
        raise RuntimeError("only at home")

    def homely(): return 1
    """
    builder.mirror_in_faas(place.module("home", source).homely, place.faas())


@bad(
    "a function that never answers",
    PublishFailed,
    "within the publish_timeout of 1 s",
    "nothing runs under",
    slow=True,
)
def _(place):
    source = """
    import os, time
    if "AWAY_SECRETS_DIR" in os.environ:
        time.sleep(60)

    def sleeps(): return 1
    """
    module = place.module("sleeping", source)
    builder.mirror_in_faas(module.sleeps, place.faas(), check=False, publish_timeout=1)


@bad("an environment that is too large", PublishFailed, "env['BIG']", "131071", "as a secret")
def _(place):
    builder.mirror_in_faas(place.function(), place.faas(), name="large", env={"BIG": "x" * 131_072})


@bad("a number in the environment", PublishFailed, "env['N']", "str(")
def _(place):
    builder.mirror_in_faas(place.function(), place.faas(), name="number", env={"N": 5})


@bad(
    "an option that publishing lacks",
    TypeError,
    "publish() got an unexpected",
    "'secret'",
    "'secrets'",
)
def _(place):
    builder.mirror_in_faas(place.function(), place.faas(), name="f", secret=["key"])


@bad("a header field that HTTP sets", ConfigError, "cannot set 'Host'", "leave it out")
def _(place):
    published_on(FaasConnection()).options(headers={"Host": "elsewhere"})


@bad("a header field with a line break", ConfigError, "the header 'X-A' cannot be sent", "encode")
def _(place):
    published_on(FaasConnection()).options(headers={"X-A": "1\r\nX-B: 2"})


@bad(
    "a secret header in a pickle", CannotTravel, "the header 'X-Api-Key'", "where the call is made"
)
def _(place):
    import pickle

    pickle.dumps(published_on(FaasConnection()).options(headers={"X-Api-Key": TOKEN}))


@bad(
    "an executor that runs whatever it is sent", ConfigError, "can run any code", "safe_args=False"
)
def _(place):
    away.Executor(FaasConnection(), by_value=True)


@bad("an executor with one name", ConfigError, "an Executor publishes one for each", "leave it out")
def _(place):
    away.Executor(FaasConnection(), name="all")


@bad("an executor that is given a URL", ConfigError, "wants a FaasConnection", "given a str")
def _(place):
    away.Executor("http://localhost:8080")


@bad("a function that is remote already", ConfigError, "is remote already", "local function")
def _(place):
    builder.mirror_in_faas(builder.sync_from_name("cat", place.faas()), place.faas())


@bad("a class", CaptureRefused, "the class Order cannot be remote", "publish a function that")
def _(place):
    class Order:
        pass

    builder.publish(place.faas())(Order)


@bad("what is no function", CaptureRefused, "only a function can be published", "of type int")
def _(place):
    builder.mirror_in_faas(5, place.faas(), name="five")


# ---------------------------------------------------------------- commands


@bad("a command that does not exist", 2, "'lst'; did you mean 'list'", "see away --help")
def _(place):
    return place.away("lst")


@bad("a command without its name", 2, "Missing argument 'NAME'", "see away call --help")
def _(place):
    return place.away("call")


@bad("a command to an unknown gateway", 2, "no gateway is called 'nogw'", "AWAY_GATEWAY_NOGW_URL")
def _(place):
    return place.away("list", "-g", "nogw")


@bad("a password in the URL of a command", 2, "has no '@'")
def _(place):
    return place.away("list", "-g", f"http://admin:{PASSWORD}@faas.example")


@bad("a command with broken TOML", 2, "away.toml line 1 is not TOML")
def _(place):
    place.write("away.toml", "[gateways\n")
    return place.away("list", "-g", "dev")


@bad("an argument that is not JSON", 2, "'hello' is not JSON", "'\"hello\"'")
def _(place):
    return place.away("call", "cat", "hello", "-g", place.gateway.url)


@bad("an argument that does not fit", 2, "missing 1 required positional argument: 'b'")
def _(place):
    faas = place.faas()
    place.configured("shop", faas.url, faas.password)
    builder.mirror_in_faas(place.function("def f(a, b): return a + b"), faas, name="adds")
    return place.away("call", "adds", "1", "-g", "shop")


@bad("a command to a gateway that is down", 3, "refused", "start")
def _(place):
    port = place.closing.enter_context(servers.refusing())
    place.configured("shop", f"http://127.0.0.1:{port}")
    place.set(AWAY_GATEWAY_SHOP_TIMEOUT="0.2")
    return place.away("list", "-g", "shop")


@bad("a command with a wrong password", 4, "refused the login of the user 'admin'", "correct")
def _(place):
    place.configured("shop", place.gateway.url, PASSWORD)
    return place.away("list", "-g", "shop")


@bad("a command for a function that is missing", 5, "no function 'kat'", "did you mean 'cat'")
def _(place):
    place.configured("shop", place.gateway.url, place.gateway.password)
    return place.away("describe", "kat", "-g", "shop")


@bad("a command that runs out of time", 6, "fibonacci", "0.3")
def _(place):
    script = {"/system": answer(401), "": servers.hang()}
    url = place.serve(script).url
    return place.away("call", "fibonacci", "1", "-g", url, "--timeout", "0.3")


@bad(
    "a command for a function that raises", 1, "divides raised ZeroDivisionError: division by zero"
)
def _(place):
    faas = place.faas()
    place.configured("shop", faas.url, faas.password)
    builder.mirror_in_faas(place.function("def f(n): return 1 / n"), faas, name="divides")
    return place.away("call", "divides", "0", "-g", "shop")


@bad("a file to publish that is missing", 2, "no file 'nofile.py'")
def _(place):
    return place.away("publish", "nofile.py")


@bad("a file to publish that fails", 1, "broken.py:2: NameError: name 'nmae' is not defined")
def _(place):
    place.write("broken.py", "x = 1\nnmae\n")
    return place.command("publish", "broken.py")


@bad("a file to publish without functions", 2, "plain.py", "name one FILE:FUNCTION")
def _(place):
    place.write("plain.py", "def f(): return 1\n")
    return place.command("publish", "plain.py")


@bad("a secret without a value", 2, "the value of the secret 'key' is empty", "--from-file")
def _(place):
    place.configured("default", place.gateway.url, place.gateway.password)
    return place.command("secrets", "create", "key")


@bad("a port that is taken", 2, "port", "in use", "--port")
def _(place):
    port = str(place.serve(answer()).port)
    return place.command("up", "--state", str(place.folder / "state"), "--port", port)


@bad("an empty password file", 2, "is empty", "write the password into it")
def _(place):
    file = str(place.write("pw", ""))
    return place.command("up", "--state", str(place.folder / "state"), "--password-file", file)


@bad("a state that cannot be written", 2, "state", "folder")
def _(place):
    file = place.write("file", "")
    return place.command("up", "--state", str(file / "state"))


# ---------------------------------------------------------------- imports


@bad(
    "an import from an unknown gateway",
    ModuleNotFoundError,
    "no gateway 'nogw'",
    "shop",
    "AWAY_GATEWAY_NOGW_URL",
)
def _(place):
    place.configured("shop", "http://shop.example")
    place.imported("from away.remote.nogw import fibonacci")


@bad("an import of a missing function", ImportError, "'fibonaci'", "fibonacci")
def _(place):
    place.configured("shop", place.serve(ONE_FUNCTION).url)
    place.imported("from away.remote.shop import fibonaci")


@bad("an attribute that is no function", AttributeError, "'fibonaci'", "fibonacci")
def _(place):
    place.configured("shop", place.serve(ONE_FUNCTION).url)
    place.imported("import away.remote.shop as m")["m"].fibonaci


@bad("an import from a gateway that is down", GatewayUnreachable, "refused", "start", slow=True)
def _(place):
    port = place.closing.enter_context(servers.refusing())
    place.configured("shop", f"http://127.0.0.1:{port}")
    place.imported("from away.remote.shop import fibonacci")


@bad("an import with a wrong password", AuthenticationRefused, "the user 'admin'", "correct")
def _(place):
    place.configured("shop", place.gateway.url, PASSWORD)
    place.imported("from away.remote.shop import cat")


@bad("an import with broken TOML", ImportError, "away.toml line 1 is not TOML")
def _(place):
    place.write("away.toml", "[gateways\n")
    place.imported("from away.remote.shop import cat")


# ---------------------------------------------------------------- machines

JOB = """
from pathlib import Path
from away import FaasConnection, builder

faas = FaasConnection({url!r}, password=Path({password!r}).read_text(), verbose=False)

@builder.publish(faas)
def from_a_poor_machine(n): return n + 1

print(from_a_poor_machine(1))
"""


def _job(place):
    # Not in the script: a file to be packed that holds a password is refused.
    file = place.write("password", place.gateway.password)
    return JOB.format(url=place.gateway.url, password=str(file))


@bad("a HOME that is unset", None)
def _(place):
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "AWAY_RUNTIME_DIR"):
        place.patch.delenv(name)
    assert place.script(_job(place)).shown == "2\n"


@bad("a HOME that is a file", None)
def _(place):
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "AWAY_RUNTIME_DIR"):
        place.patch.delenv(name)
    place.set(HOME="/dev/null")
    assert place.script(_job(place)).shown == "2\n"


@bad("a HOME that is read-only", None)
def _(place):
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "AWAY_RUNTIME_DIR"):
        place.patch.delenv(name)
    home = place.folder / "home"
    home.mkdir()
    place.set(HOME=str(home))
    assert place.script(_job(place), read_only=home).shown == "2\n"


@bad(
    "a file queue.py beside the script",
    ConfigError,
    "queue.py hides Python's own module queue",
    "rename",
)
def _(place):
    place.write("queue.py", "def put(x): pass\n")
    return place.script(_job(place))


@bad(
    "a file json.py beside the script",
    ConfigError,
    "json.py hides Python's own module json",
    "rename",
)
def _(place):
    place.write("json.py", "x = 1\n")
    return place.script(_job(place))


@bad("a working folder that is gone", None)
def _(place):
    place.write("gone/x", "")
    source = f"import os, shutil\nos.chdir('gone'); shutil.rmtree('../gone')\n{_job(place)}"
    assert place.script(source).shown == "2\n"


# ---------------------------------------------------------------- the test


@pytest.fixture(scope="session")
def gateway():
    with away.gateway.run(announce=False) as faas:
        faas.deploy({"service": "cat", "image": "process", "envProcess": "cat"})
        yield faas


@pytest.fixture
def place(tmp_path, monkeypatch, gateway, own_environment, capsys):
    place = Place(tmp_path, monkeypatch, gateway, capsys)
    with place.closing:
        yield place


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row.id, marks=[pytest.mark.slow] if row.slow else [])
        for row in bad.rows
    ],
)
def test_a_bad_input_is_told_in_one_sentence(place, row):
    told = place.told(row.act)
    if row.outcome is None:
        assert told is None, told
        return
    assert told is not None, "it worked"
    if isinstance(row.outcome, int):
        assert told.code == row.outcome, told.shown
    else:
        assert issubclass(told.kind or str, row.outcome), told.shown
    secrets = (PASSWORD, TOKEN, place.gateway.password)
    check_sentence(told, secrets)
    if isinstance(told.error, AwayError):
        check_travels(told.error, secrets)
    for words in row.words:
        assert words in told.text
