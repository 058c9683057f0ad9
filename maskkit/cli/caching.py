"""What `cache` prints of the files in which runs share prepared images."""

from datetime import datetime

from rich.console import Console
from rich.table import Table

from maskkit.data.cache_files import MOST_BYTES, CacheFile, cache_files, cache_folder, clear_cache

__all__ = ["clear_and_print", "print_cache"]


def print_cache() -> None:
    """Print each file with its size and when a run last used it."""
    found = cache_files()
    if not found:
        print(f"no prepared images in {cache_folder()}; maskkit train --cache=disk keeps them there")
        return
    table = Table("file", "last used", title=str(cache_folder()), title_justify="left")
    table.add_column("MB", justify="right")
    for one in found:
        last_used = datetime.fromtimestamp(one.last_used).astimezone()
        table.add_row(one.path.name, f"{last_used:%Y-%m-%d %H:%M}", f"{one.num_bytes / 1e6:,.1f}")
    Console(highlight=False, emoji=False).print(table)
    print(f"{_total(found)} of at most {MOST_BYTES / 1e9:.0f} GB; maskkit cache --clear removes them")


def clear_and_print() -> None:
    """Remove the files, and print how many there were."""
    found = clear_cache()
    print(f"removed {_total(found)} from {cache_folder()}")


def _total(files: list[CacheFile]) -> str:
    num_bytes = sum(one.num_bytes for one in files)
    return f"{len(files)} file{'s' * (len(files) != 1)}, {num_bytes / 1e6:,.1f} MB,"
