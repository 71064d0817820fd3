"""What the filter before Celery lets in: the number of a job, whatever else the message asks for."""

import base64
import json

import pytest

from farm.broker.app import MEASURE
from workers.runtime.message_filter.redis import job_id, job_message


def message(content, **changes):
    """A message with that body."""
    body = content if isinstance(content, str) else json.dumps(content)
    return {**job_message(1, "a100"), "body": base64.b64encode(body.encode()).decode(), **changes}


def test_a_message_says_its_number():
    assert job_id(job_message(7, "a100")) == 7
    assert job_id(message([[7], {}, {}])) == 7


@pytest.mark.parametrize(
    "content",
    [
        [[0], {}, {}],
        [[-1], {}, {}],
        [[True], {}, {}],
        [[1.0], {}, {}],
        [["1"], {}, {}],
        [[None], {}, {}],
        [[[1]], {}, {}],
        [[{"id": 1}], {}, {}],
        [[2**31], {}, {}],
        [[10**400], {}, {}],
        [[], {}, {}],
        [[1, 2], {}, {}],
        [[1], {"job_id": 1}, {}],
        [[1], [], {}],
        [[1]],
        {"args": [1], "kwargs": {}, "task": MEASURE},
        1,
        "NaN",
        "[[1],{},{}",
        "",
        "[" * 2000 + "]" * 2000,
    ],
    ids=lambda content: repr(content)[:30],
)
def test_what_is_not_one_positive_integer_is_nothing(content):
    assert job_id(message(content)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"headers": {"task": "celery.backend_cleanup"}},
        {"headers": {"task": "os.system"}},
        {"headers": {"task": [MEASURE]}},
        {"headers": {}},
        {"headers": None},
        {"headers": {"task": MEASURE, "compression": "application/x-gzip"}},
        {"content-type": "application/x-python-serialize"},
        {"content-type": "application/x-yaml"},
        {"content-type": "application/data"},
        {"content-type": None},
        {"body": None},
        {"body": "not base64!"},
        {"body": "ÿ"},
        {"body": base64.b64encode(json.dumps([[1], {}, {"x": "y" * 10_000}]).encode()).decode()},
    ],
    ids=lambda changes: repr(changes)[:50],
)
def test_what_names_no_job_is_nothing(changes):
    assert job_id(message([[1], {}, {}])) == 1
    assert job_id(message([[1], {}, {}], **changes)) is None


@pytest.mark.parametrize("envelope", [None, 1, "x", [], {}, [[1], {}, {}]])
def test_what_is_no_message_is_nothing(envelope):
    assert job_id(envelope) is None


def test_nothing_but_the_number_passes():
    """Time limits, callbacks, a later time, replies: a message made anew knows none of them."""
    asked = message([[7], {}, {"callbacks": [{"task": "x"}], "chain": [{"task": "y"}]}])
    asked["headers"].update(timelimit=[1, 1], eta="2100-01-01T00:00:00", expires="2001-01-01T00:00:00", group="g")
    asked["properties"].update(reply_to="elsewhere", delivery_tag=["no text"])
    made = job_message(job_id(asked), "a100")
    assert json.loads(base64.b64decode(made["body"])) == [
        [7],
        {},
        {"callbacks": None, "errbacks": None, "chain": None, "chord": None},
    ]
    assert set(made["headers"]) == {"lang", "task", "id", "root_id", "argsrepr"}
    assert "reply_to" not in made["properties"]
