"""Rows on threads, event loops, other processes, archives and interpreters of their own."""

from __future__ import annotations

from tests.import_forms import Row

# A program whose children are started by the method that stands in its first argument.
POOL = """
import multiprocessing, sys
def use(f):
    return f(1, 2)
def by_name(n):
    from away.remote.gw import add
    return add(n, n)
if __name__ == "__main__":
    import away.remote.gw as g
    from away.remote.gw import add
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(1) as pool:
        assert pool.apply(add, (1, 2)) == 3
        assert pool.apply(use, (add,)) == 3
        assert pool.map(by_name, [1, 2]) == [2, 4]
        assert pool.starmap(add, [(1, 1), (2, 2)]) == [2, 4]
        pool.close()
        pool.join()
"""
ZIPAPP = """
import pathlib, subprocess, sys, zipapp, shutil, away
tree = pathlib.Path("tree"); tree.mkdir()
shutil.copytree(pathlib.Path(away.__file__).parent, tree / "away",
                ignore=shutil.ignore_patterns("__pycache__", "publish"))
(tree / "__main__.py").write_text(
    "import pkgutil, away.remote\\n"
    "assert 'app.pyz' in away.remote.__file__\\n"
    "print([each.name for each in pkgutil.iter_modules(away.remote.__path__)])\\n"
    "from away.remote.gw import add\\nprint('sum', add(1, 2))\\n")
zipapp.create_archive(tree, "app.pyz")
ran = subprocess.run([sys.executable, "app.pyz"], capture_output=True, text=True)
print(ran.stdout, ran.stderr)
sys.exit(ran.returncode)
"""

ROWS = (
    # ------------------------------------------------------------ threads and event loops
    Row(
        "threads that import at once",
        """
import threading
found, barrier = [], threading.Barrier(16)
def take():
    barrier.wait()
    from away.remote.gw import add
    found.append(add)
threads = [threading.Thread(target=take) for _ in range(16)]
for each in threads: each.start()
for each in threads: each.join()
assert len(found) == 16 and len(set(map(id, found))) == 1
""",
        1,
    ),
    Row(
        "a pool of threads",
        """
from concurrent.futures import ThreadPoolExecutor
from away.remote.gw import add
with ThreadPoolExecutor(4) as pool:
    assert list(pool.map(add, range(8), range(8))) == [2 * each for each in range(8)]
""",
        1,
        8,
    ),
    Row(
        "a module that waits for a thread that imports it",
        """
import crossed
assert crossed.found == [3]
""",
        1,
        1,
        files={
            "crossed.py": """
import threading
from away.remote.gw import add
found = []
def use():
    from away.remote.gw import add
    import away.remote.gw
    found.append(add(1, 2))
thread = threading.Thread(target=use)
thread.start()
thread.join(30)
"""
        },
    ),
    Row(
        "in a running event loop",
        """
import asyncio
async def use():
    from away.remote.gw import add, later
    return await later(add(1, 2)), await asyncio.gather(later(1), later(2))
assert asyncio.run(use()) == (3, [1, 2])
""",
        1,
        4,
    ),
    Row(
        "load before an import in an event loop",
        """
import asyncio, away
async def use():
    loaded = await away.hooks.load("gw")
    import away.remote.gw as g
    from away.remote.gw import add, my_function
    assert loaded is g and loaded.add is add
    return await asyncio.to_thread(add, 1, 2)
assert asyncio.run(use(), debug=True) == 3
""",
        1,
        1,
    ),
    Row(
        "load_sync",
        """
import away
assert away.hooks.load_sync("gw").add(1, 2) == 3
with raises(ModuleNotFoundError, says="no gateway 'nogw'", name="away.remote.nogw"):
    away.hooks.load_sync("nogw")
""",
        1,
        1,
    ),
    Row(
        "an event loop in debug mode says who stalls it",
        """
import asyncio, warnings
async def use():
    from away.remote.gw import add
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    asyncio.run(use(), debug=True)
(told,) = caught
assert "await away.hooks.load('gw')" in str(told.message) and told.filename.startswith("an event")
""",
        1,
    ),
    # ------------------------------------------------------------ other processes
    Row(
        "a fork after the import",
        """
import os
from away.remote.gw import add
child = os.fork()
if child == 0:
    os._exit(0 if add(1, 2) == 3 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 and add(1, 2) == 3
""",
        1,
        2,
    ),
    Row(
        "a fork before the first name",
        """
import os
import away.remote.gw as g
child = os.fork()
if child == 0:
    os._exit(0 if g.add(1, 2) == 3 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert g.add(1, 2) == 3
""",
        2,
        2,
    ),
    Row("children by spawn", POOL, 2, 6, argv=("-W", "error", "main.py", "spawn")),
    Row("children by forkserver", POOL, 2, 6, argv=("-W", "error", "main.py", "forkserver")),
    Row("children by fork", POOL, 1, 6, argv=("-W", "error", "main.py", "fork")),
    Row(
        "a process pool of concurrent.futures",
        """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
if __name__ == "__main__":
    from away.remote.gw import add, fail
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        assert list(pool.map(add, [1, 2], [3, 4])) == [4, 6]
        try:
            pool.submit(fail).result()
        except ZeroDivisionError as error:
            print("told", error)
""",
        1,
        3,
        argv=("-W", "error", "main.py"),
        prints=("told division by zero",),
    ),
    Row(
        "unpickled where nothing was imported",
        """
import pickle, subprocess, sys
import away.remote.gw as g
data = pickle.dumps((g.add, g.later, g["my-function"], g))
code = ("import pickle, asyncio; add, later, mine, g = pickle.loads(%r); import away.remote.gw;"
        "print(add(1, 2), asyncio.run(later(4)), mine(2, 3), g is away.remote.gw)" % data)
said = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
assert said.stdout.split() == ["3", "4", "5", "True"], said
""",
        1,
        3,
    ),
    Row(
        "32 threads in each of 8 processes",
        """
import os, threading
def work(process):
    wrong, barrier = [], threading.Barrier(32)
    def use(thread):
        barrier.wait()
        from away.remote.gw import add
        import away.remote.gw as g
        if g.add is not add or add(process, thread) != process + thread:
            wrong.append(thread)
    threads = [threading.Thread(target=use, args=(each,)) for each in range(32)]
    for each in threads: each.start()
    for each in threads: each.join()
    return wrong
children = []
for process in range(8):
    child = os.fork()
    if child == 0:
        status = 2
        try:
            status = 1 if work(process) else 0
        finally:
            os._exit(status)
    children.append(child)
assert [os.waitpid(each, 0)[1] for each in children] == [0] * 8
""",
        8,
        8 * 32,
    ),
    # ------------------------------------------------------------ interpreters of their own
    Row(
        "python -c",
        argv=("-W", "error", "-c", "from away.remote.gw import add; print('sum', add(1, 2))"),
        lists=1,
        calls=1,
        prints=("sum 3",),
    ),
    Row(
        "python -c with nothing but a home",
        # Where the user's configuration is, is asked of a package that imports much itself.
        code="""
import os, subprocess, sys
kept = {key: text for key, text in os.environ.items() if not key.startswith("XDG_")}
code = "from away.remote.gw import add; print('sum', add(1, 2))"
subprocess.run([sys.executable, "-W", "error", "-c", code], env=kept, check=True)
""",
        lists=1,
        calls=1,
    ),
    Row(
        "python -O -B -s -X importtime",
        argv=("-OBs", "-X", "importtime", "-c", "from away.remote.gw import add"),
        lists=1,
        prints=("away.remote.gw",),
    ),
    Row(
        "python -m of a gateway",
        argv=("-m", "away.remote.gw"),
        status=1,
        prints=("'away.remote.gw' is a package and cannot be directly executed",),
    ),
    Row(
        "python -m of a function",
        argv=("-m", "away.remote.gw.add"),
        lists=1,
        status=1,
        prints=("No module named away.remote.gw.add",),
    ),
    Row(
        "python -m of the package",
        argv=("-m", "away.remote"),
        status=1,
        prints=("'away.remote' is a package and cannot be directly executed",),
    ),
    Row(
        "runpy",
        """
import runpy
with raises(ImportError, says="cannot be directly executed"):
    runpy.run_module("away.remote.gw")
scope = runpy.run_path("script.py")
assert scope["total"] == 3
""",
        1,
        1,
        files={"script.py": "from away.remote.gw import add\ntotal = add(1, 2)\n"},
    ),
    Row("zipapp", ZIPAPP, 1, 1, argv=("main.py",), prints=("'gw'", "sum 3")),
    Row(
        "a module found in an archive",
        """
import sys, zipfile
with zipfile.ZipFile("mine.zip", "w") as archive:
    archive.writestr("mine/__init__.py", "from away.remote.gw import add")
sys.path.insert(0, "mine.zip")
import mine
assert mine.add(1, 2) == 3
""",
        1,
        1,
    ),
    Row(
        "compiled ahead",
        """
import compileall, importlib.util, pathlib, sys
assert compileall.compile_dir(".", quiet=1, legacy=True)
pathlib.Path("mine.py").unlink()
import mine
assert mine.add(1, 2) == 3 and mine.__file__.endswith(".pyc")
""",
        1,
        1,
        files={"mine.py": "from away.remote.gw import add\n"},
    ),
)
