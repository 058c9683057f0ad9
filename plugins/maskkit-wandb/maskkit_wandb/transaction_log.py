"""Reading what W&B has kept of a run on this machine: its transaction logs, of which it offers no reader.

The form is that of LevelDB's log, after 7 bytes of W&B's own: blocks of 32 KiB, and in them fragments, each after its
checksum (4 bytes), length (2) and kind (1: a whole record, 2, 3 and 4: the first, middle and last of one); a record is
a protocol buffer. https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

import json
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

__all__ = ["logs_of", "mend", "read_history", "read_records", "waits_for_sync"]

_MAGIC = b":W&B\xe1\xbe"
_BLOCK = 32 * 1024
_HEADER = struct.Struct("<IHB")
_WHOLE, _FIRST, _LAST = 1, 2, 4


def logs_of(folder: Path) -> list[Path]:
    """Return the transaction logs below W&B's folder of a run, the oldest first."""
    return sorted(folder.glob("*run-*/run-*.wandb"), key=lambda path: path.parent.name.removeprefix("offline-"))


def waits_for_sync(log: Path) -> bool:
    """Return whether a log was written offline and has not been uploaded since."""
    return log.parent.name.startswith("offline-") and not log.with_name(f"{log.name}.synced").exists()


def read_history(log: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of figures in a log, with W&B's own such as `_step`."""
    for record in read_records(log):
        if record.WhichOneof("record_type") == "history":
            yield {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}


def read_records(log: Path) -> Iterator[Any]:
    """Yield the records of a log, of type `Record` in W&B's protocol, up to one that was cut short."""
    return (record for _, record in _records(log))


def mend(log: Path) -> bool:
    """Cut off the record that a kill cut short, at which `wandb sync` would stop; return whether anything is left.

    A log without a record of its run, as of a run that was killed in its first seconds, goes with its folder.
    """
    records = list(_records(log))
    if any(record.WhichOneof("record_type") == "run" for _, record in records):
        end = records[-1][0]
        if end < log.stat().st_size:
            os.truncate(log, end)
        return True
    shutil.rmtree(log.parent)
    return False


def _records(log: Path) -> Iterator[tuple[int, Any]]:
    """Yield each whole record after the place where it ends."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # of the protobuf that is there

    for end, content in _contents(log.read_bytes()):
        try:
            yield end, Record.FromString(content)
        except DecodeError:
            return


def _contents(log: bytes) -> Iterator[tuple[int, bytes]]:
    if not log.startswith(_MAGIC):
        return
    place, content = len(_MAGIC) + 1, b""
    while place + _HEADER.size <= len(log):
        left = _BLOCK - place % _BLOCK
        if left < _HEADER.size:  # too little for a fragment: the block is filled up
            place += left
            continue
        _, length, kind = _HEADER.unpack_from(log, place)
        begin = place + _HEADER.size
        place = begin + length
        if kind == 0 or place > len(log):
            return
        content = log[begin:place] if kind in {_WHOLE, _FIRST} else content + log[begin:place]
        if kind in {_WHOLE, _LAST}:
            yield place, content
