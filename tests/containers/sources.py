"""A distribution that is source alone, and an index in a folder: what has to be compiled to be used."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import tarfile
from pathlib import Path

REQUIREMENT = "away-test-extension==1.0"
# pip looks into the folder and nowhere else, and dpkg does not wait for the disk.
DOCKERFILE = """\
ARG BASE_IMAGE
FROM $BASE_IMAGE
RUN echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/fast
COPY index/ /index/
ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/index
"""

_FILES = {
    "PKG-INFO": "Metadata-Version: 2.1\nName: away-test-extension\nVersion: 1.0\n",
    "pyproject.toml": (
        '[build-system]\nrequires = ["setuptools", "wheel"]\n'
        'build-backend = "setuptools.build_meta"\n'
    ),
    "setup.py": """\
from setuptools import Extension, setup

setup(
    name="away-test-extension",
    version="1.0",
    ext_modules=[Extension("away_test_extension", ["extension.c"])],
)
""",
    "extension.c": """\
#include <Python.h>

static PyObject *answer(PyObject *self, PyObject *ignored) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, NULL}, {NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "away_test_extension", NULL, -1, methods};

PyMODINIT_FUNC PyInit_away_test_extension(void) { return PyModule_Create(&module); }
""",
}


def write_index(folder: Path) -> None:
    """Write the folder ``index`` with the source, and the wheels that building it takes."""
    index = folder / "index"
    index.mkdir()
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(index),
    ]
    # Versions are stated, so that the engine knows again what it built from them.
    done = subprocess.run(
        [*command, "setuptools==80.9.0", "wheel==0.45.1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    path = index / "away_test_extension-1.0.tar.gz"
    # With a date in it, no engine would know it again.
    with (
        gzip.GzipFile(path, "wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        for name, text in _FILES.items():
            data = text.encode()
            member = tarfile.TarInfo(f"away_test_extension-1.0/{name}")
            member.size, member.mtime = len(data), 315532800
            archive.addfile(member, io.BytesIO(data))
