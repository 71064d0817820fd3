"""The page beside a farm that works: fifty readers of a store of 20,000 rows and 500 sweeps while a sweep runs.

The readers are a process of their own. A request is timed from when it was due, so that a page that falls behind is
not asked less.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from itertools import islice
from pathlib import Path

import httpx

from farm.domain import Configuration
from farm.domain.row import Row as Measured
from farm.results import Results
from farm.store.engine import Store
from farm.sweeps import control
from farm.sweeps.read import parse_spec
from farm.sweeps.submit import submit
from tests.bench import Row
from tests.browser import served
from tests.integration.farm_fixture import RunningFarm

ROWS = 20_000
SWEEPS = 500
READERS = 50
RATE = 25.0  # requests a second of all readers together
SECONDS = 45.0  # of reading
TURNS = 3  # of working undisturbed, then read
REQUESTS = 10_000  # after which memory is what it was
WARM = 2_000  # requests before that
MODELS = ("sd2", "sdxl", "sd35", "flux", "qwen", "sd15")
BOARDS = ("a100", "h100", "l40s", "rtx4090", "a6000", "a10")
TYPES = ("a100", "a4000", "a6000")
SPEED = 4.0  # simulated seconds a second: a job takes about a second
P95_MS = 300.0
LOSS_PERCENT = 5.0
GROWTH_PERCENT = 5.0

Kind = str  # "page" or "JSON"


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder, _farm(Path(folder) / "home") as farm:
        fill(farm.store)
        farm.submit(gpus=TYPES, count=1_000)
        farm.start("coordinator")
        for gpu in TYPES:
            farm.worker(gpu, speed=SPEED)
        with served(farm.environment) as address:
            pid = _listener(address)
            _wait_fitted(address)
            quiet, read, seconds, spent = [], [], {"page": [], "JSON": []}, 0.0
            for _ in range(TURNS):
                quiet.append(_sweep_rate(farm, lambda: time.sleep(SECONDS / 2)))
                before = _cpu_seconds(pid)
                read.append(_sweep_rate(farm, lambda: _read(address, SECONDS / TURNS, seconds)))
                spent += _cpu_seconds(pid) - before
            how = f"{READERS} readers, {RATE:g}/s together, {SECONDS:.0f} s, {ROWS:,} rows, {SWEEPS} sweeps"
            for kind, found in seconds.items():
                yield Row(f"{kind}, p95", 1e3 * _share(found, 0.95), "ms", P95_MS, f"{how}, {len(found)} requests")
                yield Row(f"{kind}, p50", 1e3 * _share(found, 0.5), "ms", None, "same")
                yield Row(f"{kind}, p99", 1e3 * _share(found, 0.99), "ms", None, "same")
            yield Row("the server's processor time", 100 * spent / SECONDS, "% of a core", None, "same")
            loss = 100 * (1 - statistics.median(read) / statistics.median(quiet))
            how = f"{statistics.median(quiet):.2f} jobs/s unread, {statistics.median(read):.2f} read, {TURNS} turns"
            yield Row("what the sweep loses of its rate", loss, "%", LOSS_PERCENT, how)
            yield from _memory(farm.store, address, pid)


def _memory(store: Store, address: str, pid: int) -> Iterator[Row]:
    asyncio.run(_hurry(address, WARM, seed=1))
    # The law of newer rows is made beside the one that answers: what that takes stays with the process.
    Results(store).add(list(islice(imported("later"), 100)), dataset="later")
    asyncio.run(_hurry(address, WARM, seed=3))
    before = _megabytes(pid)
    start = time.perf_counter()
    asyncio.run(_hurry(address, REQUESTS, seed=2))
    rate = REQUESTS / (time.perf_counter() - start)
    after = _megabytes(pid)
    how = f"{before:.0f} MB, then {after:.0f} MB; one client that waits for nothing: {rate:.0f}/s"
    growth = 100 * (after / before - 1)
    yield Row(f"memory after {REQUESTS:,} requests", growth, "% more", GROWTH_PERCENT, how)


def fill(store: Store) -> None:
    """Imported rows of many configurations, and small sweeps that were cancelled."""
    Results(store).add(list(imported()), dataset="lab")
    for number in range(SWEEPS):
        document = {"name": f"sweep {number}", "models": ["sd2"], "gpus": ["a100"], "resolutions": [128, 256]}
        submitted = submit(store, parse_spec({**document, "steps": [number + 1], "prompts": [7]}, folder=Path()))
        assert submitted.sweep is not None
        control.cancel(store, submitted.sweep)


def imported(name: str = "row") -> Iterator[Measured]:
    """Rows of configurations drawn at random, their energies of the right size."""
    rng = random.Random(0)
    for number in range(ROWS):
        side, steps, prompts = rng.choice((512, 768, 1024)), rng.randint(4, 50), rng.choice((1, 4, 10))
        joules = 2e-5 * side * side * steps * prompts * rng.lognormvariate(0.0, 0.3)
        configuration = Configuration(
            model=rng.choice(MODELS), gpu=rng.choice(BOARDS), width=side, height=side, steps=steps,
            precision=rng.choice(("fp16", "bf16")), cfg=rng.random() < 0.5, prompts=prompts,
        )  # fmt: skip
        yield Measured(
            configuration=configuration, energy_joules=joules, duration_seconds=joules / 200, meter="nvml",
            measurement_id=f"{name}-{number}", measured_at="2026-01-01T00:00:00Z",
        )  # fmt: skip


def addresses(rng: random.Random) -> Iterator[tuple[Kind, str]]:
    """What readers ask, page and JSON in turn, no two after each other alike."""
    while True:
        model, gpu, steps = rng.choice(MODELS), rng.choice(BOARDS), rng.randint(4, 50)
        point = f"model={model}&gpu={gpu}&resolution=1024&steps={steps}&precision=fp16"
        rows = f"model={model}&sort={rng.choice(('-energy_joules_per_image', 'steps', '-added_at'))}"
        rows += f"&offset={rng.randrange(0, 800, 50)}"
        yield from (
            ("page", f"/?{point}&cfg=0"),
            ("JSON", f"/api/predict?{point}"),
            ("page", f"/measurements?{rows}"),
            ("JSON", f"/api/measurements?{rows}&limit=50"),
            ("page", f"/measurements?offset={rng.randrange(0, ROWS, 50)}"),
            ("JSON", f"/api/measurements/row-{rng.randrange(ROWS)}"),
            ("page", f"/measurements/row-{rng.randrange(ROWS)}"),
            ("JSON", "/api/status"),
            ("page", "/sweeps"),
            ("JSON", "/api/sweeps"),
            ("page", f"/sweeps/{rng.randint(1, SWEEPS + 1)}"),
            ("JSON", f"/api/sweeps/{rng.randint(1, SWEEPS + 1)}"),
            ("page", "/devices"),
            ("JSON", "/api/workers"),
            ("page", f"/compare?steps={rng.choice((20, 28, 50))}"),
            ("JSON", "/api/failures"),
            ("page", "/law"),
            ("JSON", "/healthz"),
        )


def _read(address: str, seconds: float, into: dict[Kind, list[float]]) -> None:
    """Have readers read in a process of their own; their seconds by kind."""
    import subprocess

    command = [sys.executable, "-m", "tests.bench.page", address, str(seconds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    for kind, found in json.loads(done.stdout).items():
        into[kind] += found


async def _readers(address: str, seconds: float) -> dict[Kind, list[float]]:
    """Readers who each have the stream of events open and ask every so often, evenly among each other."""
    found: dict[Kind, list[float]] = {"page": [], "JSON": []}
    async with AsyncExitStack() as stack:
        # One context for all: to make one takes tens of milliseconds, which are no reader's.
        context = httpx.create_ssl_context()
        clients = [
            httpx.AsyncClient(base_url=address, timeout=60, trust_env=False, verify=context) for _ in range(READERS)
        ]
        for client in clients:
            await stack.enter_async_context(client)
        opened = [asyncio.Event() for _ in clients]
        listening = [asyncio.create_task(_listen(*pair)) for pair in zip(clients, opened, strict=True)]
        await asyncio.gather(*(event.wait() for event in opened))
        start = time.perf_counter() + 1.0
        asked = addresses(random.Random(os.getpid()))
        plan: list[list[tuple[float, Kind, str]]] = [[] for _ in clients]
        for number in range(int(seconds * RATE)):
            plan[number % READERS].append((start + number / RATE, *next(asked)))
        await asyncio.gather(*(_reader(client, part, found) for client, part in zip(clients, plan, strict=True)))
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
    return found


async def _reader(
    client: httpx.AsyncClient, plan: Sequence[tuple[float, Kind, str]], found: dict[Kind, list[float]]
) -> None:
    for due, kind, path in plan:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        answer = await client.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
        found[kind].append(time.perf_counter() - due)


async def _listen(client: httpx.AsyncClient, opened: asyncio.Event) -> None:
    topics = "/events?topic=now&topic=sweeps&topic=devices:6.0"
    async with client.stream("GET", topics) as stream:
        async for _ in stream.aiter_bytes():
            opened.set()


async def _hurry(address: str, count: int, seed: int) -> None:
    """One after another, as fast as they are answered."""
    asked = addresses(random.Random(seed))
    async with httpx.AsyncClient(base_url=address, timeout=60, trust_env=False) as client:
        for _ in range(count):
            answer = await client.get(next(asked)[1])
            assert answer.status_code == 200


def _sweep_rate(farm: RunningFarm, meanwhile: Callable[[], object]) -> float:
    """Jobs a second that the workers end meanwhile: of each, from its first end to its last."""
    begun = time.time()
    meanwhile()
    rate = 0.0
    ends: dict[str, list[float]] = {}
    for worker, end in farm.rows("SELECT worker, ended_at FROM attempt WHERE ended_at > :begun", begun=begun):
        ends.setdefault(worker, []).append(end)
    for times in ends.values():
        rate += (len(times) - 1) / (max(times) - min(times))
    return rate


def _wait_fitted(address: str) -> None:
    point = "model=flux&gpu=a100&resolution=512&steps=20&precision=fp16"
    while httpx.get(f"{address}/api/predict?{point}", timeout=90, trust_env=False).status_code == 503:
        pass


def _share(seconds: Sequence[float], share: float) -> float:
    return sorted(seconds)[int(share * (len(seconds) - 1))]


def _listener(address: str) -> int:
    """The process that serves an address: our youngest child that listens there."""
    import psutil

    port = int(address.rpartition(":")[2])
    for process in psutil.Process().children():
        if any(c.laddr.port == port and c.status == psutil.CONN_LISTEN for c in process.net_connections()):
            return int(process.pid)
    raise RuntimeError(f"nobody listens on {address}")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


@contextmanager
def _farm(home: Path) -> Iterator[RunningFarm]:
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("FARM_")}
    try:
        farm = RunningFarm(home, os.environ.__setitem__)
        try:
            yield farm
        finally:
            farm.close()
    finally:
        for name in [name for name in os.environ if name.startswith("FARM_")]:
            del os.environ[name]
        os.environ.update(before)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_readers(sys.argv[1], float(sys.argv[2])))))
