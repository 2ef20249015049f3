"""What a person sees of a publish: on a terminal, in a pipe, and when silence was asked for."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import textwrap
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from away.connection.conversations import Wait
from away.publish.gates import Gates
from away.publish.progress import Progress, size_of
from away.publish.screen import Screen, shown, widths

# ---------------------------------------------------------------- steps and numbers


def clock_of(*times: float):
    ticks = iter(times)
    return lambda: next(ticks)


def test_seconds_come_from_the_clock_that_was_given():
    progress = Progress(clock=clock_of(1.0, 3.5))
    with progress.step("push"):
        pass
    assert progress.steps[0].seconds == 2.5


def test_a_step_within_another_is_not_counted_twice():
    progress = Progress(clock=clock_of(0.0, 1.0, 4.0, 10.0))
    with progress.step("layers"):
        with progress.step("requirements"):
            assert progress.current == "requirements"
        assert progress.current == "layers"
    assert [tuple(each) for each in progress.steps] == [("requirements", 3.0), ("layers", 7.0)]


def test_the_step_that_failed_stays_the_current_one():
    progress = Progress()
    with pytest.raises(ZeroDivisionError), progress.step("layers"), progress.step("requirements"):
        raise ZeroDivisionError
    assert progress.current == "requirements"


def test_an_upload_is_told_in_the_unit_of_its_whole():
    progress = Progress()
    with progress.step("push"):
        assert progress.now() == "uploading"
        progress.total(45_000_000)
        progress.sent(12_340_000)
        assert progress.now() == "uploading 12.3 of 45.0 MB"
        progress.total(-32_000_000)  # the registry had the rest
        assert progress.now() == "uploading 12.3 of 13.0 MB"
        progress.sent(-12_340_000)  # and once more from the start
        assert progress.now() == "uploading 0.0 of 13.0 MB"


def test_more_bytes_than_were_announced_are_no_more_than_all():
    progress = Progress()
    with progress.step("push"):
        progress.total(10)
        progress.sent(2_000)
        assert progress.now() == "uploading 2.0 of 2.0 kB"


@given(st.integers(0, 10**13))
def test_a_size_is_written_with_a_unit_and_few_digits(count):
    amount, unit = size_of(count).split()
    assert float(amount) < 1000 or unit == "GB"
    scale = {"bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]
    assert float(amount) * scale == pytest.approx(count, rel=0.06)


def test_a_publish_ends_where_its_check_says_so():
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError), Progress(check=stop).step("push"):
        raise AssertionError("the step began")


# ---------------------------------------------------------------- a pipe


def steps_of_one(progress: Progress) -> None:
    with progress.step("capture"):
        pass
    with progress.step("compare"):
        pass
    with progress.step("registry"):
        pass
    with progress.step("layers"), progress.step("requirements"):
        pass
    with progress.step("push"):
        progress.total(1_250_000)
        progress.sent(1_250_000)
    with progress.step("deploy"):
        pass
    with progress.step("ready"):
        pass


def test_steps_are_plain_lines_in_a_pipe_and_what_cost_nothing_is_none():
    stream = io.StringIO()
    display = shown("f", "http://gw", verbose=True, stream=stream)
    with display as progress:
        steps_of_one(progress)
    display.verdict("created f")
    lines = [re.sub(r"\d\.\d\d s", "0.00 s", each) for each in stream.getvalue().splitlines()]
    assert lines == [
        "publishing f on http://gw",
        "  captured 0.00 s",
        "  uploaded 1.2 MB 0.00 s",
        "  deployed 0.00 s",
        "  ready 0.00 s",
        "created f",
    ]


def test_an_unchanged_function_is_one_line():
    stream = io.StringIO()
    display = shown("f", "http://gw", verbose=True, stream=stream)
    with display as progress:
        with progress.step("capture"):
            pass
        with progress.step("compare"):
            pass
    display.verdict("f is unchanged")
    assert stream.getvalue() == "f is unchanged\n"


def test_nothing_is_shown_when_silence_was_asked_for():
    stream = io.StringIO()
    display = shown("f", "http://gw", verbose=False, stream=stream)
    with display as progress:
        steps_of_one(progress)
        progress.detail("Step 1/2")
    display.verdict("created f")
    assert stream.getvalue() == ""


def test_the_step_that_failed_is_named_with_how_far_it_came():
    stream = io.StringIO()
    display = shown("f", "http://gw", verbose=True, stream=stream)
    display.progress.total(4_000_000)
    display.progress.sent(1_000_000)
    with pytest.raises(ZeroDivisionError), display as progress, progress.step("push"):
        raise ZeroDivisionError
    assert stream.getvalue().splitlines()[-1] == "  uploading 1.0 of 4.0 MB: failed"


def test_an_interrupted_publish_says_what_was_changed():
    for step, says in (("push", "f was not deployed; what was"), ("ready", "may go on with it")):
        stream = io.StringIO()
        display = shown("f", "http://gw", verbose=True, stream=stream)
        with pytest.raises(KeyboardInterrupt), display as progress, progress.step(step):
            raise KeyboardInterrupt
        assert says in stream.getvalue().splitlines()[-1]


def test_lines_of_a_build_are_shown_without_what_a_terminal_obeys():
    stream = io.StringIO()
    with shown("f", "http://gw", verbose=True, stream=stream) as progress, progress.step("build"):
        progress.detail("Step 1/2 : FROM \x1b[31mred\x1b]0;taken over\x07\n")
        progress.detail("\n")
    told = stream.getvalue()
    assert "  | Step 1/2 : FROM " in told
    assert "\x1b" not in told
    assert "\x07" not in told
    assert told.count("  | ") == 1


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_stream_that_is_closed_does_not_end_a_publish(when):
    stream = io.StringIO()
    display = shown("f", "http://gw", verbose=True, stream=stream)
    if when == "before":
        stream.close()
    with display as progress:
        with progress.step("layers"):
            stream.close()
        steps_of_one(progress)
    display.verdict("created f")


def test_several_at_once_begin_their_lines_with_their_names():
    stream = io.StringIO()
    first, second = (shown(each, "http://gw", verbose=True, stream=stream) for each in "fg")
    with first as one, second as two:
        steps_of_one(one)
        steps_of_one(two)
    lines = stream.getvalue().splitlines()
    assert {line[:3] for line in lines} == {"f: ", "g: "}
    assert "f: publishing on http://gw" in lines
    assert sum(line.startswith("g: uploaded 1.2 MB ") for line in lines) == 1
    third = shown("h", "http://gw", verbose=True, stream=stream)
    with third as alone:
        steps_of_one(alone)
    assert "publishing h on http://gw" in stream.getvalue()


def test_lines_of_many_threads_stay_whole():
    stream = io.StringIO()
    screen = Screen(stream, plural=True)

    def one(name: str) -> None:
        with shown(name, "http://gw", verbose=True, screen=screen) as progress:
            for _ in range(20):
                with progress.step("deploy"):
                    pass

    threads = [threading.Thread(target=one, args=(f"f{number}",)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 8 * 21
    whole = re.compile(r"f\d: (deployed \d\.\d\d s|publishing on http://gw)")
    assert all(whole.fullmatch(line) for line in lines)


# ---------------------------------------------------------------- a terminal


def on_terminal(program: str, **environment: str) -> str:
    """Run a program whose standard error is a terminal, and return what that was sent."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **environment},
    )
    os.close(theirs)
    pieces = []
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(ours)
    assert process.wait() == 0, b"".join(pieces).decode()
    return b"".join(pieces).decode()


ONE = """
    import time
    from away.publish.screen import shown
    display = shown("f", "http://gw", verbose=True)
    with display as progress:
        with progress.step("push"):
            progress.total(45_000_000)
            for _ in range(9):
                progress.sent(5_000_000)
                time.sleep(0.05)
        with progress.step("build"):
            progress.detail("Step 1/2 : FROM python")
            time.sleep(0.3)
    display.verdict("created f")
"""


def plain(told: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", told)


def test_a_terminal_shows_an_upload_as_it_goes_on_and_keeps_the_lines():
    told = on_terminal(ONE)
    assert re.search(r"uploading \d+\.\d of 45\.0 MB", plain(told))
    assert "building  Step 1/2 : FROM python" in plain(told)
    assert re.search(r"uploaded 45\.0 MB 0\.\d\d s", plain(told))
    assert plain(told).rstrip().endswith("created f")
    # The cursor that was hidden is there again.
    assert told.rindex("\x1b[?25h") > told.rindex("\x1b[?25l")


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines():
    told = on_terminal(ONE + "    import sys; assert 'rich' not in sys.modules\n", TERM="dumb")
    assert "\x1b" not in told
    assert "  uploaded 45.0 MB" in told


def test_a_terminal_of_another_encoding_breaks_nothing():
    told = on_terminal(ONE, PYTHONIOENCODING="ascii:strict", PYTHONUTF8="0", LC_ALL="C")
    assert "created f" in told


def test_several_on_a_terminal_are_a_line_each_that_stays():
    told = on_terminal(
        """
        import sys, time
        from away.publish.screen import Screen, shown
        screen = Screen(sys.stderr, plural=True)
        rows = [shown(name, "http://gw", verbose=True, screen=screen) for name in ("one", "two")]
        with rows[0] as one, rows[1] as two:
            with one.step("deploy"), two.step("push"):
                time.sleep(0.3)
        for row in rows:
            row.verdict(f"created {row.name}")
        screen.close()
        """
    )
    shown_last = re.split(r"[\r\n]+", plain(told).strip())[-2:]
    assert [each.split() for each in shown_last] == [
        ["one", "created", "one"],
        ["two", "created", "two"],
    ]
    assert "one deploying" in re.sub(" +", " ", plain(told))


def test_what_a_step_printed_is_not_shown_with_the_next_one():
    display = shown("f", "http://gw", verbose=True, stream=io.StringIO())
    with display as progress, progress.step("push"):
        with progress.step("build"):
            progress.detail("Successfully tagged f")
            assert display.row()[1] == "building  Successfully tagged f"
        assert display.row()[1] == "uploading"


def test_a_long_line_of_a_build_is_cut_and_names_and_times_stay():
    told = on_terminal(
        """
        import sys, time
        from away.publish.screen import Screen, shown
        screen = Screen(sys.stderr, plural=True)
        rows = [shown(name, "http://gw", verbose=True, screen=screen)
                for name in ("first-function", "second-function")]
        with rows[0] as one, rows[1] as two:
            with one.step("base image"), two.step("base image"), one.step("build"):
                one.detail("Get:3 http://packages.example/debian bookworm/main amd64 Packages " * 3)
                two.detail("Get:4 http://packages.example/debian bookworm/main amd64 Packages " * 3)
                time.sleep(1.4)
        screen.close()
        """
    )
    lines = {line.rstrip() for line in re.split(r"[\r\n]+", plain(told))}
    first = [
        each for each in lines if re.search(r"first-function +building  Get:3 .*… +1 s$", each)
    ]
    assert first
    assert max(map(len, first)) <= 80
    assert [each for each in lines if "second-function reading the base image  Get:4" in each]


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 400), st.integers(0, 6)), max_size=9),
    st.integers(60, 250),
)
def test_a_row_is_never_longer_than_the_line(lengths, columns):
    names, said, times = widths(lengths, columns)
    assert 2 + names + 1 + said + 1 + times <= columns
    assert all(each[2] <= times and min(each[0], 40) <= names for each in lengths)


# ---------------------------------------------------------------- one at a time


def test_a_gate_lets_one_in_and_the_next_when_that_is_out():
    gates = Gates()
    first = gates.holding("layer")
    with pytest.raises(StopIteration) as held:
        next(first)
    second = gates.holding("layer")
    with held.value.value:
        assert isinstance(next(second), Wait)
        with pytest.raises(StopIteration):
            next(gates.holding("another"))
        assert isinstance(second.send(None), Wait)
    with pytest.raises(StopIteration):
        second.send(None)


def test_a_gate_is_open_again_after_a_failure():
    gates = Gates()

    def fails():
        with (yield from gates.holding("layer")):
            yield Wait(0)
            raise ZeroDivisionError

    conversation = fails()
    next(conversation)
    assert not gates.take("layer")
    with pytest.raises(ZeroDivisionError):
        conversation.send(None)
    assert gates.take("layer")


def test_a_gate_is_open_again_after_a_cancellation():
    gates = Gates()

    def waits():
        with (yield from gates.holding("layer")):
            yield Wait(0)

    conversation = waits()
    next(conversation)
    conversation.close()
    assert gates.take("layer")
