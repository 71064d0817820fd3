"""Logs of `farm up` stay within bounds while processes go on writing to them."""

from __future__ import annotations

from farm.local.rotation import KEPT, Rotation


def test_a_full_log_begins_anew_under_the_process_that_writes_it(tmp_path):
    log = tmp_path / "worker.log"
    small = tmp_path / "small.log"
    small.write_text("short")
    rotation = Rotation(tmp_path, 100)
    with log.open("ab", buffering=0) as writer:
        for number in range(KEPT + 3):
            writer.write(b"%d" % number * 101)
            rotation.rotate()
            assert log.stat().st_size == 0
        writer.write(b"last")
    rotation.rotate()
    assert log.read_bytes() == b"last"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "small.log", "worker.log", *(f"worker.log.{number}" for number in range(1, KEPT + 1)),
    ]  # fmt: skip
    kept = [(tmp_path / f"worker.log.{number}").read_bytes()[:1] for number in range(1, KEPT + 1)]
    assert kept == [b"%d" % number for number in range(KEPT + 2, 2, -1)]
