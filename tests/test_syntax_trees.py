"""Sources read as syntax trees by several threads at once, as when several functions are published."""

from __future__ import annotations

import ast
import gc
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from away.syntax_trees import parse, parse_expression

SOURCE = "".join(
    f"def f{n}(a, b):\n    return [(a + {n}) * b for _ in range(3)]\n" for n in range(600)
)


@pytest.fixture(autouse=True)
def other_threads_run_while_a_tree_is_built():
    """Let each collection of garbage give way to other threads, as finalizers and debuggers do."""

    def give_way(phase: str, info: dict[str, int]) -> None:
        time.sleep(0)

    gc.callbacks.append(give_way)
    yield
    gc.callbacks.remove(give_way)


def test_threads_that_read_sources_at_once_do_not_disturb_each_other():
    with ThreadPoolExecutor(8) as pool:
        trees = list(pool.map(parse, [SOURCE] * 24))
    assert {len(tree.body) for tree in trees} == {600}


def test_threads_of_others_that_build_trees_do_not_disturb_either():
    def others() -> None:
        for _ in range(6):
            try:
                ast.parse(SOURCE)
            except SystemError:
                pass  # theirs to mend

    with ThreadPoolExecutor(4) as pool:
        busy = [pool.submit(others) for _ in range(2)]
        trees = list(pool.map(parse, [SOURCE] * 8))
        for each in busy:
            each.result()
    assert {len(tree.body) for tree in trees} == {600}


def test_an_expression_is_read_as_one():
    assert isinstance(parse_expression("list[int] | None"), ast.BinOp)
