"""How `vote` reads its files, writes what it counted, and what it prints of their agreement."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from maskkit.config import VoteConfig
from maskkit.ensemble import Ballot, Count, counting
from maskkit.errors import UsageError
from maskkit.plugin.part import Part
from maskkit.plugin.registry import Registry
from maskkit.predictions import notice_of_run, writing
from maskkit.progress import showing_progress
from maskkit.readings import Reading, read_flags, read_words

__all__ = ["run_vote"]

_MUCH_MEMORY = 500e6

Item = TypeVar("Item")


def run_vote(config: VoteConfig, registry: Registry) -> None:
    """Vote, print the reading and the agreement, and write what was asked for."""
    if config.out is None and config.soft_out is None:
        raise UsageError("nowhere to write the vote", hint="Type --out=vote.csv, or --soft_out=FILE for probabilities.")
    rule = Part.find(registry, "vote", config.how, config.how_args)
    scores_of = rule.guarded(rule.build_function())
    reading = _read(config)
    _check_outputs(config)
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    console.print(reading.describe(config.how), markup=False)
    files = [file for group in reading.groups for file in group.files]
    for notice in dict.fromkeys(filter(None, (notice_of_run(file.path) for file in files))):
        console.print(f"Note: {notice}", markup=False, emoji=False)
    with (
        showing_progress() as progress_of,
        counting(
            reading,
            scores_of,
            weights=config.weights,
            space=config.space,
            from_answers=rule.component.from_answers,
            rowwise=rule.component.rowwise,
            on_read=progress_of("reading", "bytes"),
        ) as count,
    ):
        if not rule.component.rowwise and count.num_bytes > _MUCH_MEMORY:
            console.print(f"{config.how} looks at all images at once: {count.num_bytes / 1e9:.1f} GB of probabilities")
        _write(count, config, progress_of("counting", "images"))
        ballots = count.ballots()
    for ballot in ballots:
        _print_ballot(console, ballot, count.num_images)
    for path in (config.soft_out, config.out):
        if path is not None:
            console.print(f"wrote {path}", markup=False)


def _write(count: Count, config: VoteConfig, on_counted: Callable[[int, int], None]) -> None:
    """Write all that was asked for, or, where anything fails, none of it."""
    with ExitStack() as stack:
        soft = config.soft_out and stack.enter_context(writing(config.soft_out, count.num_classes))
        hard = config.out and stack.enter_context(writing(config.out))
        done = 0
        for ids, probabilities in _ahead(count.parts()):
            answers = probabilities.argmax(axis=1)
            if soft:
                soft(ids, answers, probabilities)
            if hard:
                hard(ids, answers)
            done += len(ids)
            on_counted(done, count.num_images)


def _ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield what an iterator does, of which the next item is made in a thread while one is used."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item


def _check_outputs(config: VoteConfig) -> None:
    """Refuse to write over what is read, or both results into one file."""
    given = {path.resolve() for path in (*config.files, *config.mask, *config.gender, *config.age)}
    for name, path in (("out", config.out), ("soft_out", config.soft_out)):
        if path is not None and path.resolve() in given:
            raise UsageError(
                f"--{name}={path} is one of the files to vote over", hint="Give the vote a name of its own."
            )
    if config.out is not None and config.soft_out is not None and config.out.resolve() == config.soft_out.resolve():
        raise UsageError(f"--out and --soft_out are both {config.out}", hint="Give each a name of its own.")


def _read(config: VoteConfig) -> Reading:
    by_task = (config.mask, config.gender, config.age)
    if not any(by_task):
        return read_words(config.files)
    if config.files:
        raise UsageError(
            f"{config.files[0]} is given as a word beside --mask, --gender or --age",
            hint="Give every file by its task, or all as words in the order mask, gender, age.",
        )
    return read_flags(*by_task)


def _print_ballot(console: Console, ballot: Ballot, num_images: int) -> None:
    for number, (path, space) in enumerate(zip(ballot.paths, ballot.spaces, strict=True), start=1):
        console.print(f"  {number}  {space:<6}{path}", markup=False)
    if len(ballot.paths) == 1:
        return
    table = Table(title="Agreement, share of equal answers", title_justify="left")
    table.add_column("")
    for number in range(1, len(ballot.paths) + 1):
        table.add_column(str(number), justify="right")
    for number, row in enumerate(ballot.agreement, start=1):
        table.add_row(str(number), *(f"{share:.3f}" for share in row))
    console.print(table)
    console.print(f"all agree on {ballot.unanimous:,} of {num_images:,} images")
