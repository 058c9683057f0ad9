"""Taking back what an interrupted run wrote into TensorBoard's event files."""

from collections.abc import Callable, Iterator
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

from maskkit import replacing

__all__ = ["cut_back"]

IsKept = Callable[[str, int], bool]


def cut_back(folder: Path, is_kept: IsKept) -> None:
    """Rewrite the event files of a folder with only those values whose tag and step are kept.

    A file in which nothing is left is removed. A record that was cut short, as by kill -9, ends its file.
    """
    for path in sorted(folder.glob("*tfevents*")):
        kept = [] if _is_temporary(path) else list(_kept_events(path, is_kept))
        if any(event.WhichOneof("what") != "file_version" for event in kept):
            _write(path, kept)
        else:
            path.unlink()


def _is_temporary(path: Path) -> bool:
    """Whether a rewriting that was killed left this file; TensorBoard would read it beside the whole one."""
    return path.name.startswith(".")


def _kept_events(path: Path, is_kept: IsKept) -> Iterator[Event]:
    for record in RawEventFileLoader(str(path)).Load():
        event = Event.FromString(record)
        if event.HasField("summary"):
            values = [value for value in event.summary.value if is_kept(value.tag, event.step)]
            if not values:
                continue
            del event.summary.value[:]
            event.summary.value.extend(values)
        yield event


def _write(path: Path, events: list[Event]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        records = RecordWriter(file)
        for event in events:
            records.write(event.SerializeToString())
