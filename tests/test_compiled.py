"""Compiled files of an image: what is in them beside the code."""

from __future__ import annotations

import marshal

import pytest

from away.publish.compiled import compiled_file


def test_docstrings_can_be_left_out_and_lines_and_assertions_stay():
    source = (
        b'"""Of the module."""\nfrom __future__ import annotations\n\nclass Alone:\n    """Of a class, in\n    two lines."""\n\n\n'
        b'def f(x):\n    """Of a function."""\n    assert x, "no x"\n    return [x]\n\n\n'
        b'async def g():\n    """Only this."""\n'
    )
    found = {}
    for docs in (True, False):
        _, data = compiled_file("opt/m.py", source, docs=docs)
        scope = {"__name__": "m"}
        exec(marshal.loads(data[16:]), scope)
        found[docs] = len(data), scope
    assert found[False][0] < found[True][0]
    assert found[True][1]["f"].__doc__ == "Of a function."
    scope = found[False][1]
    assert [scope[name].__doc__ for name in ("Alone", "f", "g")] == [None, None, None]
    assert "__doc__" not in scope or scope["__doc__"] is None
    assert scope["f"](1) == [1]
    with pytest.raises(AssertionError, match="no x") as caught:
        scope["f"](0)
    assert caught.traceback[-1].lineno + 1 == 11
