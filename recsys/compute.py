"""How much of the machine is used: one declared number of threads and one memory budget for all native libraries."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from recsys.config import ComputeConfig
from recsys.errors import UsageError

MIB = 1 << 20
Task = TypeVar("Task")
Made = TypeVar("Made")

Thing = TypeVar("Thing")


def thread_count(config: ComputeConfig) -> int:
    """Threads to use: as declared, or one a core this process may run on."""
    return config.threads or len(os.sched_getaffinity(0))


def check_budget(need_mib: float, config: ComputeConfig, what: str, *, found: str, todo: str) -> None:
    """Refuse before the work starts what would not fit the declared budget.

    Args:
        what, found, todo: as in `RecsysError`.

    Raises:
        UsageError: more is needed.
    """
    if need_mib > config.memory_mib:
        expected = f"at most {config.memory_mib:,} MiB (compute.memory_mib)"
        raise UsageError(what, expected=expected, found=found, todo=todo)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within, BLAS and LAPACK use one thread: with more, the last bits of a result depend on how many there are."""
    import scipy.linalg.cython_blas  # noqa: F401  (compiled functions call SciPy's BLAS: the limit holds for what is loaded)
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


def in_order(work: Callable[[Task], Made], tasks: Iterable[Task], threads: int) -> Generator[Made, None, None]:
    """`work` of each task, done in threads and given in the order of the tasks; at most threads + 1 of them wait."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Made]] = deque()
        for task in tasks:
            waiting.append(pool.submit(work, task))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def over_tiles(work: Callable[[slice, slice], None], n: int, tile: int, threads: int) -> None:
    """Call `work(rows, columns)` for each tile of the upper triangle of an n x n matrix, diagonal included, in threads.

    The tiles are the same for any number of threads: a product of another width may round otherwise.
    """
    starts = range(0, n, tile)
    cut = {start: slice(start, min(start + tile, n)) for start in starts}
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, cut[top], cut[left]) for top in starts for left in starts if left >= top]:
            done.result()


def compiled(function: Callable[..., Any], **options: Any) -> Any:
    """Compile with Numba, without the GIL; kept on disk where some folder may be written to, else compiled anew.

    Args:
        options: others of Numba's.
    """
    import numba  # half a second, which commands that compute nothing need not wait

    try:
        return numba.njit(nogil=True, cache=True, **options)(function)
    except RuntimeError:  # a read-only installation and no home folder
        return numba.njit(nogil=True, **options)(function)


def compiled_fast(function: Callable[..., Any]) -> Any:
    """As `compiled`, but sums may be taken in another order, and products fused into them.

    The order is the compiler's for this kind of processor: on one machine always the same, on another kind the last
    bits may differ. Numbers that are not finite stay what they are.
    """
    return compiled(function, fastmath={"reassoc", "contract", "arcp", "nsz"})


def release_memory() -> None:
    """Give memory that is free back to the system: Arrow's pool and the C allocator keep what a stage is done with."""
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    with suppress(AttributeError, OSError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def peak_memory_mib() -> int:
    """The most memory this process has had resident so far, its interpreter, libraries and mapped files included.

    Linux hands `ru_maxrss` on through fork and exec, so that a small child of a large parent shows the parent's peak;
    `VmHWM` begins anew with each program.
    """
    with suppress(OSError, StopIteration):
        status = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in status if line.startswith("VmHWM:")).split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def ahead(made: Iterator[Thing]) -> Iterator[Thing]:
    """The same things, each made in another thread while the one before it is used."""
    end, context = object(), copy_context()  # what it logs belongs to the task that it is made for

    def make() -> Any:
        return context.run(lambda: next(made, end))

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(make)
        while (thing := coming.result()) is not end:
            coming = pool.submit(make)
            yield thing


def over_ranges(work: Callable[[int, int], None], n: int, threads: int, *, pieces_a_thread: int = 8) -> None:
    """Call `work(start, stop)` over consecutive ranges of 0..n on `threads` threads; `work` releases the GIL.

    Several pieces a thread even out unequal rows. Each piece writes its own part of the result, so that the
    result does not depend on the number of threads.
    """
    n_pieces = max(1, min(n, threads * pieces_a_thread))
    edges = [n * piece // n_pieces for piece in range(n_pieces + 1)]
    if threads == 1:
        work(0, n)
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, start, stop) for start, stop in pairwise(edges)]:
            done.result()
