"""Who may do what on the broker: access rules for Redis and Valkey, one user for the coordinator, one for each queue.

The embedded broker is started with them; ``python -m farm.broker.acl > deploy/broker/users.acl`` writes them as a
template for a lab's own server. A worker's user reaches its own queue, and no key that others use.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

OWNER: Final = "owner"  # may do everything: for the one who runs the server
COORDINATOR: Final = "coordinator"
PLACEHOLDER: Final = "SHA256_OF_THE_PASSWORD"  # no digest, so that a server refuses the template as it is

_SESSION: Final = "ping hello auth select multi exec discard watch unwatch exists"
_SEND: Final = "lpush llen sadd smembers"
_TAKE: Final = "brpop rpush"  # take, give back


def worker(queue: str) -> str:
    """The name of the user as whom the workers of a queue come."""
    return f"worker-{queue}"


def users(queues: Iterable[str], barred: Iterable[str] = ()) -> dict[str, str]:
    """The rules of each user, without a password; of those who are barred, none."""
    rules = {OWNER: "~* &* +@all", COORDINATOR: f"~* resetchannels -@all {_plus(_SESSION, _SEND)}"}
    for queue in sorted(set(queues)):
        # Beside the queue itself, those of its messages with another priority: the name, two control characters, 3-9.
        keys = f"~{queue} ~{queue}??[369] ~_kombu.binding*.{queue}"
        rules[worker(queue)] = f"{keys} resetchannels -@all {_plus(_SESSION, _SEND, _TAKE)}"
    return {name: rule for name, rule in rules.items() if name not in set(barred)}


def file(queues: Iterable[str], passwords: Mapping[str, str] | None = None, barred: Iterable[str] = ()) -> str:
    """An ACL file; the anonymous user is off. Passwords appear as digests only, without them as a placeholder."""
    lines = ["user default off"]
    for name, rules in users(queues, barred).items():
        digest = hashlib.sha256(passwords[name].encode()).hexdigest() if passwords is not None else PLACEHOLDER
        lines.append(f"user {name} on #{digest} {rules}")
    return "\n".join(lines) + "\n"


def _plus(*commands: str) -> str:
    return " ".join(f"+{name}" for group in commands for name in group.split())


if __name__ == "__main__":
    import sys

    from farm import catalog

    sys.stdout.write(file(gpu.queue for gpu in catalog.gpus().values()))
