"""Memory that was freed is kept: after a few blocks of a size, the next one costs the kernel no pages."""

import os
import sys

import pytest
from conftest import run

SIZE = 128 * 2**20
NUM_PAGES = SIZE // os.sysconf("SC_PAGE_SIZE")
COUNT = f"""
import resource
import torch

def pages_of_a_tensor():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones({SIZE}, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(*(pages_of_a_tensor() for _ in range(20)))
"""
HUGE_PAGES = "glibc.malloc.hugetlb=0"  # one fault would bring many pages


def is_glibc() -> bool:
    return "CS_GNU_LIBC_VERSION" in os.confstr_names and bool(os.confstr("CS_GNU_LIBC_VERSION"))


pytestmark = pytest.mark.skipif(not is_glibc(), reason="the C library is not glibc")


def pages_asked_for(before: str, **environment: str) -> list[int]:
    """Return how many pages the kernel gave for each of 20 large tensors, of which one lives at a time."""
    done = run(sys.executable, "-c", before + COUNT, env=os.environ | {"GLIBC_TUNABLES": HUGE_PAGES} | environment)
    assert done.code == 0, done.err
    return [int(word) for word in done.out.splitlines()[-1].split()]


def are_kept(pages: list[int]) -> bool:
    """Return whether the last ten of the tensors found their memory there."""
    return max(pages[10:]) < 0.01 * NUM_PAGES


def test_left_alone_each_tensor_costs_all_its_pages() -> None:
    assert min(pages_asked_for("")) > 0.5 * NUM_PAGES


def test_kept_memory_is_there_for_the_next_tensor() -> None:
    assert are_kept(pages_asked_for("from maskkit.arithmetic.allocator import keep_memory; assert keep_memory()"))


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train --data_dir=absent", "predict absent"])
def test_the_commands_that_compute_keep_it(command: str) -> None:
    assert are_kept(pages_asked_for(f"from maskkit.cli.shell import main; assert main({command.split()}) == 1"))


def test_who_has_set_the_allocator_keeps_their_setting() -> None:
    before = "from maskkit.arithmetic.allocator import keep_memory; assert not keep_memory()"
    assert not are_kept(pages_asked_for(before, MALLOC_TRIM_THRESHOLD_="131072"))
