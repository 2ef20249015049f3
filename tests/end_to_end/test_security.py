"""What must never happen, tried against real parts.

The sentences that tests beside their rooms prove already, with the tests' names:

==================================================  ================================================
credentials go to the gateway's own API alone       test_the_login_goes_to_the_gateways_api_and_never_to_functions,
                                                    test_the_gateways_password_never_goes_to_a_function
no redirect is followed                             test_a_redirect_of_a_function_is_not_followed,
                                                    test_each_fault_of_a_gateway_is_one_error_of_the_list
no .netrc is read                                   test_a_netrc_is_not_read
a project's file names no file outside, and moves   test_a_cloned_repository_cannot_send_what_is_the_users_elsewhere,
no gateway that keeps its password                  test_a_later_source_that_names_another_server_drops_earlier_credentials
other hosts, origins and sites are refused, by      test_other_host_names_origins_and_sites_are_refused_on_every_route,
functions too; --allow-host works                   test_a_web_page_cannot_call_what_listens_on_loopback
only the right password opens the gateway           test_only_basic_credentials_that_are_right_open_it
nothing is imported, called or made for a peer's    test_nothing_is_imported_for_a_peer,
exception                                           test_a_modules_own_code_is_never_asked_for_a_name,
                                                    test_no_init_new_or_setattr_of_the_users_runs
others' data never steers a terminal                test_others_data_never_steers_a_terminal,
                                                    test_an_answer_never_steers_a_terminal_and_passes_a_pipe_unchanged
a file or value that holds a secret is not packed   test_what_cannot_travel_is_refused_by_its_variable_and_the_path_to_it
dotfiles, keys and VCS folders are never packed     test_dotfiles_keys_caches_and_version_control_are_never_packed
layers that lead out, devices, bombs are refused    test_a_hostile_layer_is_refused_and_writes_nothing_outside,
by both filters                                     test_a_layer_over_the_limits_is_refused,
                                                    test_a_layer_of_too_many_entries_is_refused,
                                                    test_a_header_that_lies_about_its_size_takes_no_memory
a blob is verified as it is served                  test_a_blob_that_changed_on_the_disk_is_not_served_and_can_be_pushed_again
an announcement without its lock is not believed    test_an_announcement_whose_gateway_was_killed_is_not_believed
safe_args=False warns                               test_unsafe_arguments_travel_where_both_sides_opted_in
python tags in others' YAML are refused             test_a_python_tag_is_refused_in_words_and_nothing_runs
==================================================  ================================================
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import http.client
import importlib
import inspect
import io
import json
import os
import pickle
import pydoc
import stat
import sys
import tarfile
import textwrap
import typing
from pathlib import Path
from urllib.parse import urlsplit

import dill
import pytest

import away
from away import FaasConnection, builder, cli, config, protocol
from away.exceptions import AwayError, ProtocolMismatch, UnknownGateway
from away.gateway.announcement import Announcement, announce
from tests.end_to_end.watched import PASSWORD, SECRETS, VALUE, Watched, found_in, journey
from tests.images import Registry, tar_of
from tests.servers import Seen, Server, answer, json as json_answer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what processes show")


@pytest.fixture(scope="session")
def up(tmp_path_factory):
    gateway = Watched(tmp_path_factory.mktemp("watched"))
    yield gateway
    gateway.close()


@pytest.fixture(scope="session")
def traces(up, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        return journey(up, tmp_path_factory.mktemp("journey"), patch)


@pytest.fixture
def watched(up, own_environment):
    with FaasConnection(up.url, password=PASSWORD, verbose=False) as connection:
        yield connection


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write a module of the user's own and import it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return write


# ---------------------------------------------------------------- no secret shows anywhere


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "repr and str",
        "logs",
        "exceptions",
        "pickle",
        "annotations",
        "command output",
        "JSON output",
        "files of images",
        "files of cache",
        "processes",
    ],
)
def test_no_secret_stands_in(kind, traces):
    seen = traces.seen[kind]
    assert sum(len(text) for _, text in seen) > 100
    assert {what: found for what, text in seen if (found := found_in(text))} == {}


def test_the_watching_finds_what_it_looks_for(up):
    for name, secret in SECRETS.items():
        assert found_in(f"x{secret}y") == [name] or name.endswith("header")
    assert "the password" in found_in((up.announcement / "gateway.json").read_bytes())


def test_what_holds_a_secret_is_for_its_owner_alone(up, traces):
    assert traces.seen
    for folder in (up.state, up.announcement):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    holding = [
        path
        for root in (up.state, up.announcement)
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink() and found_in(path.read_bytes())
    ]
    names = {path.name for path in holding}
    assert {"gateway.json", "watched-key"} <= names <= {"gateway.json", "watched-key", "password"}
    for path in holding:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700, path
        assert path.stat().st_uid == os.getuid()


def test_a_function_finds_its_secret_in_a_private_file(watched, written):
    watched.create_secret("private-key", VALUE)
    source = """
    import os

    def modes():
        folder = os.environ["AWAY_SECRETS_DIR"]
        paths = [folder, os.path.join(folder, "private-key")]
        return [os.stat(path).st_mode & 0o777 for path in paths] + sorted(os.listdir(folder))
    """
    module = written("private_modes", source)
    far = builder.mirror_in_faas(module.modes, watched, secrets=["private-key"])
    assert far() == [0o700, 0o600, "private-key"]
