"""How `vote` reads its files, and what it prints of their agreement."""

from rich.console import Console
from rich.table import Table

from maskkit.config import VoteConfig
from maskkit.ensemble import Ballot, Reading, read_flags, read_words, vote
from maskkit.errors import UsageError
from maskkit.plugin.part import Part
from maskkit.plugin.registry import Registry
from maskkit.predictions import notice_of_run, write_hard, write_soft

__all__ = ["run_vote"]


def run_vote(config: VoteConfig, registry: Registry) -> None:
    """Vote, print the reading and the agreement, and write what was asked for."""
    if config.out is None and config.soft_out is None:
        raise UsageError("nowhere to write the vote", hint="Type --out=vote.csv, or --soft_out=FILE for probabilities.")
    rule = Part.find(registry, "vote", config.how, config.how_args)
    reading = _read(config)
    _check_outputs(config)
    result = vote(
        reading,
        rule.guarded(rule.build_function()),
        weights=config.weights,
        space=config.space,
        from_answers=rule.component.from_answers,
    )
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    console.print(reading.describe(config.how), markup=False)
    paths = (path for ballot in result.ballots for path in ballot.paths)
    for notice in dict.fromkeys(filter(None, map(notice_of_run, paths))):
        console.print(f"Note: {notice}", markup=False, emoji=False)
    for ballot in result.ballots:
        _print_ballot(console, ballot, len(result.ids))
    if config.soft_out is not None:
        write_soft(config.soft_out, result.ids, result.probabilities)
        console.print(f"wrote {config.soft_out}", markup=False)
    if config.out is not None:
        write_hard(config.out, result.ids, result.ans)
        console.print(f"wrote {config.out}", markup=False)


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
