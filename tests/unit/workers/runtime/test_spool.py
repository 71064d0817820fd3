"""The spool: nothing is lost, nothing is given to the wrong database, a bad file stops nobody."""

import hashlib
import os
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest

from farm.domain import Configuration, Measurement, OperationError, RequestError
from workers.runtime.spool import Entry, Spool, database_fingerprint

HERE = "0123456789abcdef0123456789abcdef"


def entry(job_id=1, database=HERE, samples=b"\x00raw"):
    configuration = Configuration(
        model="flux", gpu="a100", width=512, height=512, steps=4, precision="fp16", cfg=False, prompts=2
    )
    measurement = Measurement(
        measurement_id=f"m{job_id}",
        configuration=configuration,
        energy_joules=1.5,
        energy_std_joules=None,
        idle_watts=None,
        duration_seconds=2.0,
        meter="simulated",
        flags=("simulated",),
        measured_at="2026-01-01T00:00:00+00:00",
    )
    return Entry(job_id=job_id, attempt=3, worker="w", database=database, measurement=measurement, samples=samples)


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool", "w")


def test_what_was_put_comes_out_once(spool):
    for number in (2, 1):
        spool.put(entry(number))
    assert spool.waiting == 2
    taken = []
    assert spool.drain({HERE}, taken.append) == 2
    assert taken == [entry(1), entry(2)]
    assert spool.waiting == 0
    assert spool.drain({HERE}, taken.append) == 0


def test_what_is_put_is_synced_before_it_has_its_name_and_so_is_the_folder(spool, monkeypatch):
    synced, sync = [], os.fsync

    def recorded(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    before = len(list(Path("/proc/self/fd").iterdir()))
    path = spool.put(entry())
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert synced == [path.with_name(f".{path.stem}.tmp"), spool.folder]
    assert spool.folder.stat().st_mode & 0o777 == 0o700


def test_a_database_that_fails_leaves_everything(spool):
    spool.put(entry())

    def away(_):
        raise OperationError("away")

    with pytest.raises(OperationError):
        spool.drain({HERE}, away)
    assert spool.waiting == 1


def test_another_database_never_gets_it(spool):
    spool.put(entry(database="another"))
    assert spool.drain({HERE}, lambda _: pytest.fail("given away")) == 0
    assert spool.waiting == 1


@pytest.mark.parametrize(
    "spoil", [lambda b: b[:-7], lambda b: b"", lambda b: b.replace(b"1.5", b"9.5"), lambda b: b[::-1]]
)
def test_a_corrupt_file_is_set_aside_and_the_rest_goes_on(spool, spoil, caplog):
    bad = spool.put(entry(1))
    bad.write_bytes(spoil(bad.read_bytes()))
    spool.put(entry(2))
    taken = []
    assert spool.drain({HERE}, taken.append) == 1
    assert [e.job_id for e in taken] == [2]
    assert (spool.waiting, spool.set_aside) == (0, 1)
    assert (caplog.text.count(bad.name), caplog.text.count(str(spool.corrupt))) == (1, 1)
    assert spool.corrupt.stat().st_mode & 0o777 == 0o700


def test_a_corrupt_file_that_cannot_be_moved_is_said_and_stops_nobody(spool, caplog):
    bad = spool.put(entry(1))
    bad.write_bytes(b"nonsense")
    spool.corrupt.write_text("a file where the folder should be")
    spool.put(entry(2))
    assert spool.drain({HERE}, lambda _: None) == 1
    assert f"{bad} cannot be moved" in caplog.text
    assert bad.exists()


def test_what_the_database_refuses_is_set_aside(spool):
    spool.put(entry())

    def refuse(_):
        raise RequestError("job", 1, "a job of this database")

    assert spool.drain({HERE}, refuse) == 0
    assert (spool.waiting, spool.set_aside) == (0, 1)


def test_others_results_are_left_to_them_until_they_are_old(spool):
    path = Spool(spool.folder, "another").put(entry())
    assert spool.drain({HERE}, lambda _: None) == 0
    os.utime(path, (0, 0))
    assert spool.drain({HERE}, lambda _: None) == 1


def test_a_folder_that_takes_nothing_is_said_in_one_line_and_leaves_nothing(spool):
    spool.folder.write_text("a file where the folder should be")
    with pytest.raises(OperationError, match="spool"):
        spool.put(entry())
    assert spool.waiting == 0


def test_a_full_disk_leaves_no_half_file(spool, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    spool.put(entry(1))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OperationError, match="No space left"):
        spool.put(entry(2))
    assert [p.name[:10] for p in spool.folder.iterdir()] == ["0000000001"]


def test_the_fingerprint_knows_the_place_and_not_the_secret():
    first = database_fingerprint("postgresql+psycopg://a:b@host:5432/farm?sslmode=require")
    assert first == database_fingerprint("postgresql://c@host:5432/farm")
    assert first != database_fingerprint("postgresql://c@host:5432/other")


@pytest.mark.parametrize("content", ['{"version": 1, "job_id": 1e999}', "[" * 100_000, '{"version": [[[]]]}', "null"])
def test_json_that_is_no_result_is_set_aside(spool, content):
    path = spool.put(entry())
    path.write_bytes(hashlib.sha256(content.encode()).hexdigest().encode() + b"\n" + content.encode())
    spool.put(entry(2))
    taken = []
    assert spool.drain({HERE}, taken.append) == 1
    assert (spool.set_aside, spool.waiting) == (1, 0)


def test_what_is_no_file_is_left_alone(spool):
    path = spool.put(entry())
    os.mkfifo(path.with_name(f"0-{path.name}"))
    path.with_name(f"1-{path.name}").mkdir()
    path.with_name(f"2-{path.name}").symlink_to("/dev/zero")
    taken = []
    assert spool.drain({HERE}, taken.append) == 1
    assert taken == [entry()]


@pytest.fixture
def no_larger_files_than():
    """The context in which a write stops at so many bytes of a file, as on a disk that is full there."""

    @contextmanager
    def limited(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture
def held(spool):
    """The slot of a worker's spool, and what was held in it last."""
    spool.put(entry(9))
    spool.drain({HERE}, lambda _: None)  # the folder is there
    return spool


def test_results_are_held_in_one_file_in_turn(held):
    """What the database takes at once costs no new file; a longer result leaves nothing behind in the next."""
    first = held.hold(entry(1, samples=b"long" * 1000))
    assert held.waiting == 1
    held.remove(first)
    assert held.waiting == 0
    assert held.hold(entry(2)) == first
    taken = []
    assert held.drain({HERE}, taken.append) == 1
    assert taken == [entry(2)]
    assert held.waiting == 0
    assert [path.suffix for path in held.folder.iterdir()] == [".slot"]


def test_while_one_is_held_the_next_gets_a_file_of_its_own(held):
    assert held.hold(entry(1)) != held.hold(entry(2))
    assert held.hold(entry(3, samples=os.urandom(300_000))).suffix == ".result"
    taken = []
    assert Spool(held.folder, "w").drain({HERE}, taken.append) == 3
    assert sorted(e.job_id for e in taken) == [1, 2, 3]


def test_a_result_that_is_being_delivered_is_not_written_over(held):
    """Another thread drains the slot: it must not clear what came into it meanwhile."""
    held.hold(entry(1))

    def deliver_and_measure(e):
        if e.job_id == 1:
            held.remove(held.folder / f"own-{held._mark}-.slot")  # delivered by its own worker as well
            assert held.hold(entry(2)).suffix == ".result"

    assert held.drain({HERE}, deliver_and_measure) == 1
    assert held.waiting == 1
    taken = []
    held.drain({HERE}, taken.append)
    assert taken == [entry(2)]


def test_a_slot_that_was_half_written_when_the_power_went_is_set_aside(held):
    path = held.hold(entry(1))
    with path.open("r+b") as file:
        file.seek(200)
        file.write(b"old")
    assert held.drain({HERE}, lambda _: pytest.fail("believed")) == 0
    assert (held.waiting, held.set_aside) == (0, 1)
    again = held.hold(entry(2))
    assert again == path
    again.write_bytes(b"nonsense")
    held.drain({HERE}, lambda _: pytest.fail("believed"))
    assert (held.waiting, held.set_aside) == (0, 2)


def test_what_another_left_in_its_slot_is_delivered_when_it_is_old(held):
    path = held.hold(entry(1))
    other = Spool(held.folder, "another")
    assert other.drain({HERE}, lambda _: None) == 0
    os.utime(path, (0, 0))
    assert other.drain({HERE}, lambda _: None) == 1
    assert held.hold(entry(2)) == path  # its room is there for the next


def test_what_is_held_is_synced(held, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    held.hold(entry(1))
    assert len(synced) == 1


def test_where_a_slot_takes_nothing_the_result_gets_a_file(held, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    assert held.hold(entry(1)).suffix == ".result"


def test_a_slot_that_takes_a_part_of_a_result_holds_nothing(held, no_larger_files_than):
    """A disk that becomes full takes the beginning without an error; what no file takes is the caller's to keep."""
    held.remove(held.hold(entry(1)))
    with no_larger_files_than(200), pytest.raises(OperationError, match="spool"):
        held.hold(entry(2))
    assert held.waiting == 0
    assert held.drain({HERE}, lambda _: pytest.fail("believed")) == 0
    assert held.set_aside == 0


def test_a_slot_for_which_there_is_no_room_is_not_made(held, no_larger_files_than):
    with no_larger_files_than(100_000):
        assert held.hold(entry(1)).suffix == ".result"
    assert [path.suffix for path in held.folder.iterdir()] == [".result"]
    held.drain({HERE}, lambda _: None)
    assert held.hold(entry(2)).suffix == ".slot"


def test_a_folder_that_cannot_be_read_is_said_in_one_line(spool, monkeypatch):
    spool.put(entry())

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    for ask in (lambda: spool.waiting, lambda: spool.set_aside, lambda: spool.drain({HERE}, pytest.fail)):
        with pytest.raises(OperationError, match=f"spool {spool.folder}.*Permission denied"):
            ask()
