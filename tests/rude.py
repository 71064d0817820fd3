"""Input that nobody meant, how it is given to a command, and what must come of it: shared by the tests of rude input.

A test of this kind runs in two forms: a short one of the same examples every time, and a long one of new ones in
``make chaos``.
"""

from __future__ import annotations

import io
import json
import logging
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from farm.cli import run
from farm.domain import OperationError

WORDS = [
    "", " ", "-", "--", "0", "-1", "1", "2", "1.5", "nan", "inf", "-inf", "1e999", "1e-400", "0x10", "1_000", "٣", "９",
    "99999999999999999999", "9" * 400, "true", "null", "[]", "{}", "{{7*7}}", "%s%n", "$(id)", "`id`", "a" * 5000,
    "../../etc/passwd", "/dev/null", "/proc", ".", "~", "a,b", ",", ",,,", "flux,", "1024x", "x", "1024xx1024", "0x0",
    "-5x5", "💥", "Ünïcode", "\u202etxt", "\x1b[31mred", "two\nlines", "tab\there", "'; DROP TABLE job;--", "=1+1",
    "model=", "=flux", "model=flux=flux", "\udcff", "None", "NaN J", "1 kWh", "1e3", "+7", "１０２４", "flux flux", "²",
]  # fmt: skip
TEXTS = st.one_of(st.sampled_from(WORDS), st.text(st.characters(exclude_characters="\0"), max_size=12))
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 2**31, 2**63, 10**30, 0.5, 1e-320, 1e308, float("nan"), float("inf"), -float("inf")]),
    st.integers(),
    st.floats(),
)
# What a document of JSON, TOML or YAML may hold.
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)

SECONDS = 60.0  # of one command on a busy host; those that only compute answer within five
NOTICES = ("farm: not read, since", "farm: counting the work")  # beside which a refusal is still one line
SHORT, LONG = "short", "long"
BOTH_FORMS = pytest.mark.parametrize(
    "form", [SHORT, pytest.param(LONG, marks=[pytest.mark.chaos, pytest.mark.timeout(3600)])]
)


def hold(
    form: str, strategy: st.SearchStrategy[Any], check: Callable[[Any], object], *, short: int, long: int
) -> Counter[object]:
    """Check so many examples; how often ``check`` returned what. The long form says so on stdout."""
    seen: Counter[object] = Counter()

    @settings(
        max_examples=short if form == SHORT else long,
        derandomize=form == SHORT,
        print_blob=False,
        phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if form == LONG else [])],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def each(example: Any) -> None:
        seen[check(example)] += 1

    started = time.process_time()
    each()
    if form == LONG:
        parts = ", ".join(f"{count} {what}" for what, count in sorted(seen.items(), key=str))
        print(f"\n{check.__qualname__}: {seen.total()} examples in {time.process_time() - started:.0f} s: {parts}")
    return seen


@st.composite
def spoiled(draw: st.DrawFn, document: Any, values: st.SearchStrategy[Any] = VALUES) -> Any:
    """A copy of a document of which one or two places hold something else, are gone, doubled or called another way."""
    document = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 2))):
        places = list(_places(document))
        if not places:
            break
        within, key = draw(st.sampled_from(places))
        match draw(st.integers(0, 8)):
            case 0:
                del within[key]
            case 1 if isinstance(within, dict):
                within[draw(TEXTS)] = within.pop(key)
            case 2 if isinstance(within, list):
                within.insert(0, within[key])
            case 3 | 4 | 5:
                within[key] = draw(_near(within[key]))
            case _:
                within[key] = draw(values)
    return document


def _near(value: Any) -> st.SearchStrategy[Any]:
    """What somebody may have meant by a value, or nearly: as a text, as a list, a little more, in capitals."""
    changed: list[Any] = [str(value), [value], [[value]], None]
    if isinstance(value, bool):
        changed += [int(value), str(value).lower(), not value]
    elif isinstance(value, (int, float)):
        changed += [value + 1, value - 1, -value, 10 * value, value / 3, float(value), 0, 1, 2]
    elif isinstance(value, str):
        changed += [value.upper(), f" {value} ", value[:-1], value + "x", f"{value},{value}", 1]
    elif isinstance(value, list):
        changed += [value + value, value[::-1], value[:1], [value, value], dict.fromkeys(map(str, value), 1)]
    elif isinstance(value, dict):
        changed += [list(value), list(value.values()), {str(key).upper(): inner for key, inner in value.items()}]
    return st.sampled_from(changed)


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a document with every key or index that it has."""
    pairs = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in list(pairs):
        yield document, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


@st.composite
def spoiled_bytes(draw: st.DrawFn, raw: bytes) -> bytes:
    """Bytes of which a stretch is gone, doubled or another one; or in another encoding, or any at all."""
    begin = draw(st.integers(0, len(raw)))
    end = min(len(raw), begin + draw(st.integers(0, 40)))
    match draw(st.integers(0, 6)):
        case 0:
            return raw[:begin]
        case 1:
            return raw[:begin] + raw[begin:end] * 2 + raw[end:]
        case 2:
            return raw.decode("latin-1").encode(draw(st.sampled_from(["utf-8-sig", "utf-16", "utf-32", "utf-16-le"])))
        case 3:
            return draw(st.binary(max_size=200))
        case 4:
            return raw[:begin] + draw(TEXTS).encode("utf-8", "surrogatepass") + raw[end:]
        case _:
            return raw[:begin] + draw(st.binary(min_size=1, max_size=8)) + raw[end:]


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str


class TooLong(BaseException):
    """No Exception, so that nothing but a test catches it."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """An AssertionError, with where it was, for what has not ended after so long. The time limit of the test stays."""

    def over(_number: int, frame: FrameType | None) -> None:
        raise TooLong(f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "")

    started = time.monotonic()
    before = signal.signal(signal.SIGALRM, over)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except TooLong as error:
        raise AssertionError(f"not answered in {seconds:g} s, at {error}") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - started), 0.01) if left else 0.0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _as_it_was() -> Iterator[None]:
    """What long-running commands change in their process, put back: what signals do, who logs where."""
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    handlers = {number: signal.getsignal(number) for number in signals}
    root = logging.getLogger()
    loggers = list(root.handlers)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        root.handlers[:] = loggers


def end_at_once(patch: pytest.MonkeyPatch) -> None:
    """Commands that would run until they are stopped end where their work begins; what they check before is real."""
    for place, instead in _LASTING.items():
        patch.setattr(place, instead)


def not_here(*_: object, **__: object) -> None:
    """Instead of what takes long."""
    raise OperationError("not in this test")


_LASTING = {
    "farm.broker.embedded.EmbeddedBroker.start": lambda *_, **__: None,
    "farm.cli.progress.follow": lambda look, *_, **__: look(),
    "farm.coordinator.dispatcher.Dispatcher.run": lambda *_: None,
    "farm.coordinator.watch.CoordinatorWatch.start": lambda _: None,
    "farm.coordinator.watch.CoordinatorWatch.stop": lambda _: None,
    "farm.local.demo.run": not_here,
    "farm.local.farm.detach": lambda *_, **__: "the farm runs",
    "farm.local.farm.run": lambda *_, **__: None,
    "farm.local.showcase.simulated": nullcontext,
    "uvicorn.Server.run": lambda *_, **__: None,
    "workers.doctor.host._TORCH": "print('2.0.0', None, 0)",  # a child that imports torch
    "workers.meters.codecarbon.CodeCarbonType.open": not_here,
    "workers.pipelines.load": not_here,
    "workers.runtime.listener.Listener.run": lambda _: 0,
}


def ask(words: Sequence[str], stdin: bytes = b"", seconds: float = SECONDS) -> Said:
    """A command in this process."""
    out, err = io.StringIO(), io.StringIO()
    standard_input, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(stdin))
    try:
        with redirect_stdout(out), redirect_stderr(err), _as_it_was(), within(seconds):
            code = run([*words])
    finally:
        sys.stdin = standard_input
    return Said(code, out.getvalue(), err.getvalue())


def contents(*folders: Path) -> dict[str, bytes]:
    """Every file in these folders, but for those of a database or a broker in use."""
    files = (path for folder in folders for path in folder.rglob("*"))
    mine = (
        path for path in files if path.is_file() and not path.suffix.startswith(".db") and "broker" not in path.parts
    )
    return {str(path): path.read_bytes() for path in mine}


def assert_polite(words: Sequence[str], said: Said, *, codes: Sequence[int] = (0, 1, 2)) -> str:
    """That the answer is a result or one line; which of them it was."""
    assert said.code in codes, (words, said)
    assert "Traceback" not in said.err, (words, said)
    assert "FARM_DEBUG" not in said.err, (words, said)  # an error that no command foresaw
    assert "\x1b" not in said.err + said.out, (words, said)
    if said.code == 2:
        lines = said.err.splitlines()
        assert lines, (words, "refused without a word")
        assert lines[-1].startswith("farm: "), (words, said)
        assert len(lines[-1]) < 2100, (words, said)
        others = [line for line in lines[:-1] if not line.startswith(NOTICES)]
        assert not any(line.startswith("farm: ") for line in others), (words, said)
        assert not said.out, (words, said)
    if said.code == 0 and "--json" in words and "--" not in words:  # what follows it is no option
        json.loads(said.out, parse_constant=_no_number)
    return {0: "answered", 1: "failed", 2: "refused"}[said.code]


def _no_number(text: str) -> None:
    raise AssertionError(f"{text} is no JSON")
