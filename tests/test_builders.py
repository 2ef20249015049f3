"""What the docker builder decides without an engine: what is sent, what is written, what is read."""

from __future__ import annotations

import io
import itertools
import json
import os
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

import away.secret_texts as secret_texts
from away.exceptions import PublishFailed
from away.publish.builders import context as contexts
from away.publish.builders import dockerfile
from away.publish.builders.context import is_ignored, read_context, read_rules
from away.publish.builders.order import Settings
from away.publish.builders.probe import read_inside, read_manager
from away.publish.builders.transcript import Pushed, Transcript
from away.publish.progress import Progress

# ---------------------------------------------------------------- .dockerignore

IGNORED = [
    # rules, path, left out (Docker's reference, ".dockerignore file", and patternmatcher's tests)
    ("*/temp*", "somedir/temporary.txt", True),
    ("*/temp*", "temporary.txt", False),
    ("*/*/temp*", "somedir/subdir/temporary.txt", True),
    ("temp?", "tempa", True),
    ("temp?", "tempab", False),
    ("**/*.go", "main.go", True),
    ("**/*.go", "a/b/main.go", True),
    ("*.go", "a/main.go", False),
    ("node_modules", "node_modules/a/b.js", True),
    ("/node_modules/", "node_modules/a/b.js", True),
    ("foo/", "foo", True),
    ("*.md\n!README.md", "README.md", False),
    ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", True),
    ("*.md\nREADME-secret.md\n!README*.md", "README-secret.md", False),
    ("docs\n!docs/keep.md", "docs/keep.md", False),
    ("docs\n!docs/keep.md", "docs/other.md", True),
    ("# *.py", "a.py", False),
    ("  *.py  ", "a.py", True),
    ("a/../b", "b", True),
    ("[a-c].txt", "b.txt", True),
    ("[^a-c].txt", "b.txt", False),
    (r"\*.txt", "*.txt", True),
    (r"\*.txt", "a.txt", False),
    ("a.c", "abc", False),
    ("**", "anything/at/all", True),
    ("a/**/b", "a/b", True),
    ("a/**/b", "a/x/y/b", True),
    ("dir/**", "dir/x", True),
    ("[", "x", False),
    ("", "x", False),
    ("!x", "x", False),
]


@pytest.mark.parametrize(("rules", "path", "left_out"), IGNORED)
def test_dockerignore_leaves_out_what_docker_leaves_out(rules, path, left_out):
    assert is_ignored(path, read_rules(rules)) is left_out


@given(st.text(max_size=40), st.lists(st.text("ab*.!/[]", min_size=1), min_size=1, max_size=4))
def test_no_text_of_a_dockerignore_file_breaks_anything(text, parts):
    assert is_ignored("/".join(parts), read_rules(text)) in (True, False)


WORDS = st.text("abc", min_size=1, max_size=3)


@given(st.lists(WORDS, min_size=1, max_size=4))
def test_a_plain_path_names_itself_and_what_is_below_it(parts):
    path = "/".join(parts)
    rules = read_rules(path)
    assert is_ignored(path, rules)
    assert is_ignored(f"{path}/below", rules)
    assert not is_ignored(f"{path}d", rules)


# ---------------------------------------------------------------- what is sent


def sent(context) -> dict[str, tarfile.TarInfo]:
    target = io.BytesIO()
    context.write(target)
    target.seek(0)
    with tarfile.open(fileobj=target) as archive:
        return {each.name: each for each in archive.getmembers()}


def test_a_dockerfiles_folder_is_sent_without_what_is_ignored_and_without_our_owner(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / ".dockerignore").write_text("*\n!kept\n!run.sh\n!link\nkept/no\n")
    (tmp_path / "kept" / "no").mkdir(parents=True)
    (tmp_path / "kept" / "no" / "file").write_text("x")
    (tmp_path / "kept" / "file").write_text("text")
    (tmp_path / "left.out").write_text("x")
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "run.sh").chmod(0o700)
    (tmp_path / "link").symlink_to("kept/file")
    os.mkfifo(tmp_path / "kept" / "pipe")
    found = sent(read_context(tmp_path / "Dockerfile"))
    assert sorted(found) == [".dockerignore", "Dockerfile", "kept", "kept/file", "link", "run.sh"]
    assert {each.uid for each in found.values()} == {0}
    assert {each.mtime for each in found.values()} == {315532800}
    assert (found["run.sh"].mode, found["kept/file"].mode) == (0o755, 0o644)
    assert found["link"].linkname == "kept/file"


def test_a_folder_with_a_dockerfile_may_be_named_and_a_missing_one_is_a_sentence(tmp_path):
    with pytest.raises(PublishFailed, match=r"the Dockerfile .* cannot be read \(No such file"):
        read_context(tmp_path)
    (tmp_path / "Dockerfile").write_bytes(b"\xff\xfe")
    with pytest.raises(PublishFailed, match="it is no text"):
        read_context(tmp_path)
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    assert read_context(tmp_path).dockerfile == "Dockerfile"


def test_the_identity_of_a_folder_is_that_of_what_is_sent(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / ".dockerignore").write_text("ignored\n")
    (tmp_path / "data").write_text("1")
    first = read_context(tmp_path).identity()
    (tmp_path / "ignored").write_text("x")
    os.utime(tmp_path / "data", (1, 1))
    assert read_context(tmp_path).identity() == first
    (tmp_path / "data").write_text("2")
    changed = read_context(tmp_path).identity()
    (tmp_path / "data").chmod(0o755)
    assert len({first, changed, read_context(tmp_path).identity()}) == 3


def test_a_secret_beside_the_dockerfile_is_refused_by_its_place_and_not_repeated(tmp_path):
    secret_texts.remember("opensesame-of-the-folder")
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "settings.ini").write_text("[a]\npassword = opensesame-of-the-folder\n")
    with pytest.raises(PublishFailed, match=r"settings\.ini:2 beside the Dockerfile holds") as told:
        read_context(tmp_path).identity()
    assert "opensesame" not in str(told.value)
    (tmp_path / ".dockerignore").write_text("*.ini\n")
    assert read_context(tmp_path).identity()


def test_a_folder_that_is_too_large_is_refused_with_its_largest_file(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    with (tmp_path / "data.bin").open("wb") as file:
        file.truncate(contexts.MAX_CONTEXT_BYTES + 1)
    with pytest.raises(PublishFailed, match=r"more than 200 MB.*data\.bin.*\.dockerignore"):
        read_context(tmp_path)


# ---------------------------------------------------------------- names of packages


@pytest.mark.parametrize(
    "name", ["curl", "g++", "libpq5:amd64", "libc6=2.36-9+deb12u10", "py3-numpy~1.2", "python3.11"]
)
def test_names_of_packages_are_taken_as_systems_write_them(name):
    dockerfile.check_packages([name])


@pytest.mark.parametrize(
    "name",
    ["", "curl; id", "curl-", "-y", "--allow", "a b", "$(id)", "`id`", "a\nb", "a|b", "a&b", "../x",
     "a>b", "~", "a=~;b", "curl\n", "é", "x" * 300],
)  # fmt: skip
def test_what_is_no_name_of_a_package_never_reaches_a_shell(name):
    with pytest.raises(PublishFailed, match="no package's name"):
        dockerfile.install("apt-get", [name])


@given(st.text(max_size=30))
def test_a_name_that_is_taken_is_one_plain_word_of_a_shell(name):
    import shlex

    try:
        dockerfile.check_packages([name])
    except PublishFailed:
        return
    assert shlex.split(name) == [name]
    assert not set(name) & set("$`*?[]{}()<>|&;!#\"'\\ \t\r\n")
    assert not name.startswith("-")


@pytest.mark.parametrize("manager", dockerfile.MANAGERS)
def test_every_package_manager_installs_without_asking_and_cleans_up(manager):
    text = dockerfile.with_packages("sha256:1", "base", manager, ["curl", "git"], "app")
    assert "curl git" in text
    assert text.splitlines()[1:3] == ["FROM sha256:1", "USER root"]
    assert text.splitlines()[-1] == "USER app"
    assert dockerfile.compilers(manager, headers=True) != dockerfile.compilers(
        manager, headers=False
    )


def test_a_user_that_cannot_be_written_is_refused():
    with pytest.raises(PublishFailed, match="runs as the user"):
        dockerfile.with_packages("sha256:1", "base", "apt-get", ["curl"], "a\nRUN id")


# ---------------------------------------------------------------- the Dockerfile


def test_the_dockerfile_reads_as_a_person_would_write_it():
    settings = Settings(["python3", "-m", "x"], {"A": 'q"$\\', "B": "2"}, "/w", {"l": "v"})
    text = dockerfile.function_image("sha256:1", "python:3.11", [("layers/1-f.tar", "f")], settings)
    assert text == (
        "# written by Away, for one function\n"
        "# python:3.11\n"
        "FROM sha256:1\n"
        'LABEL away.builder="docker" \\\n'
        '      l="v"\n'
        'ENV A="q\\"\\$\\\\" \\\n'
        '    B="2"\n'
        "EXPOSE 8080\n"
        "ENTRYPOINT []\n"
        'CMD ["python3", "-m", "x"]\n'
        "WORKDIR /w\n"
        "# f\n"
        "ADD layers/1-f.tar /\n"
    )


def test_the_images_that_a_dockerfile_builds_on_are_found():
    text = (
        "ARG BASE_IMAGE\n# FROM no\nfrom --platform=linux/amd64 golang:1 as Build\n"
        "FROM $BASE_IMAGE\nFROM scratch\nFROM build\n  FROM registry:5000/a/b@sha256:1 AS last\n"
    )
    assert dockerfile.images_below(text) == ["golang:1", "registry:5000/a/b@sha256:1"]
    assert dockerfile.arguments_of(text) == {"BASE_IMAGE"}


# ---------------------------------------------------------------- what images and engines say


def test_what_an_image_says_of_itself_is_read():
    said = {"python": "3.11", "libc": "glibc 2.36", "environment": {"numpy": "2.1", "": "1"}}
    printed = "a banner\n" + json.dumps({**said, "pip": True, "headers": False})
    found = read_inside(printed)
    assert found is not None
    assert found == ("3.11", (2, 36), {"numpy": "2.1"}, True, False)
    musl = read_inside(json.dumps({**said, "libc": "musl"}))
    assert musl is not None
    assert musl.glibc == (0, 0)
    assert read_manager("/usr/bin/apt-get\n") == "apt-get"
    assert read_manager("/usr/bin/rm\n") == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)


@given(st.dictionaries(st.sampled_from(["python", "libc", "environment", "pip"]), JSON) | JSON)
def test_an_image_that_says_anything_else_is_one_without_python(said):
    found = read_inside(json.dumps(said))
    assert found is None or found.python.startswith("3.")


def test_nothing_printed_is_no_python():
    assert read_inside("") is None
    assert read_inside("Segmentation fault") is None


def messages(*lines: str) -> list[dict[str, str]]:
    return [{"stream": f"{line}\n"} for line in lines]


def test_a_build_is_told_by_its_steps_and_remembered_by_its_last_lines():
    secret_texts.remember("a-password-in-a-log")
    transcript = Transcript(Progress())
    told = messages(
        "Step 1/3 : FROM x", " ---> 0123456789ab", "Step 2/3 : RUN a", " ---> Using cache",
        " ---> 1123456789ab", "Step 3/3 : RUN b", " ---> Running in 2123456789ab",
        *(f"line {n}" for n in range(9)), "\x1b[91mE: a-password-in-a-log\x1b[0m",
    )  # fmt: skip
    for each in told:
        transcript.note(each)
    assert transcript.step == "Step 3/3 : RUN b"
    assert transcript.last_lines() == "line 4 | line 5 | line 6 | line 7 | line 8 | E: •••"
    assert transcript.made == []
    transcript.note({"stream": " ---> 3123456789ab\n"})
    transcript.note({"aux": {"ID": "sha256:3"}})
    assert transcript.made == ["3123456789ab"]
    assert transcript.identity == "sha256:3"


@given(st.lists(st.integers(0, 80), max_size=12))
def test_a_line_that_comes_in_pieces_is_one_line(cuts):
    text = "E: Unable to locate package nothing-like-this\n\x1b[91mgo on\x1b[0m\r\nlast, without an end"
    at = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    told: list[str] = []
    progress = Progress()
    progress.detail = told.append  # type: ignore[method-assign]
    transcript = Transcript(progress)
    for begin, end in itertools.pairwise(at):
        transcript.note({"stream": text[begin:end]})
    transcript.note({"stream": " ---> Running in 0123456789ab\n"})
    assert told == [
        "E: Unable to locate package nothing-like-this",
        "go on",
        "last, without an end",
    ]
    assert transcript.last_lines() == " | ".join(told)


def test_a_line_that_never_ends_is_heard_by_and_by():
    transcript = Transcript(Progress())
    for _ in range(100):
        transcript.note({"stream": "x" * 100})
    assert len(transcript.pending) <= 8_000
    assert transcript.last_lines()


def test_a_push_counts_bytes_once_and_gives_the_digest():
    progress = Progress()
    pushed = Pushed(progress)
    for current in (10, 60, 150):
        detail = {"current": current, "total": 100}
        pushed.note({"status": "Pushing", "id": "a", "progressDetail": detail})
    pushed.note({"status": "Pushed", "id": "a", "progressDetail": {}})
    assert (progress.bytes_sent, progress.bytes_total) == (100, 100)
    pushed.note({"aux": {"Tag": "t", "Digest": "sha256:nonsense", "Size": 1}})
    assert pushed.digest == ""
    pushed.note({"aux": {"Tag": "t", "Digest": f"sha256:{'0' * 64}", "Size": 1}})
    assert pushed.digest == f"sha256:{'0' * 64}"
