"""What this machine can do at most: ``python -m bench.limits``.

Loops in limits.c, compiled here by the system's C compiler: peak multiply-adds by instruction set, read bandwidth of
each cache level and of memory, and the round trip of a cache line between two cores; and the plain loops of a layer, a
product and an exponential. Each figure is the best of many short repeats, of all threads together.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from rnnrt import InputError, RnnrtError, cpu

from . import report

SOURCE = Path(__file__).with_name("limits.c")
FLAGS = ("-std=gnu11", "-O3", "-ffp-contract=off", "-shared", "-fPIC", "-pthread", "-w")
ISAS = {"baseline": (0, 4), "avx2": (1, 8), "avx512": (2, 16), "neon": (3, 4)}
"""Number in limits.c and floats a register."""
ASSUMED = {"L1": 32 << 10, "L2": 1 << 20, "L3": 32 << 20}


TILES = ((3, 0), (3, 1), (4, 0), (4, 1))
"""Ways to take a product, of which the fastest counts: vectors of a panel, and whether the next panel is fetched."""


class NoLimitsError(RnnrtError):
    """The limits cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Product:
    """Rows of so many terms times weights of so many bytes, in each thread."""

    rows: int
    terms: int
    n_bytes: int


@dataclass(frozen=True)
class Limits:
    """What `threads` threads can do together.

    Attributes
    ----------
    isa : str
        Instruction set that `bandwidth` was read with and that floors assume.
    flops : dict
        Instruction set -> float32 operations a second; a multiply-add is two.
    bandwidth, sizes : dict
        "L1", "L2", "L3", "DRAM" -> bytes a second, of all threads; and bytes of one cache.
    round_trip : float or None
        Seconds of a cache line from one core to another and back; None with one core.
    products : dict
        Product -> seconds that a plain loop takes for it, backwards every other time, on all threads at once.
    exponential, chained : float
        Seconds of a function's exponential, of a vector: among others; and after the one before, with a division.
    """

    isa: str
    threads: int
    flops: dict[str, float]
    bandwidth: dict[str, float]
    sizes: dict[str, int]
    round_trip: float | None
    notes: list[str] = field(default_factory=list)
    products: dict[Product, float] = field(default_factory=dict)
    exponential: float = 0.0
    chained: float = 0.0

    @property
    def peak(self) -> float:
        """float32 operations a second with `isa`."""
        return self.flops[self.isa]

    @property
    def lanes(self) -> int:
        """float32 numbers of a vector of `isa`."""
        return ISAS[self.isa][1]

    def now(self, levels: Collection[str], seconds: float, products: Collection[Product] = ()) -> Limits:
        """The limits of this moment: the peak, some levels, exponentials and some products anew, the rest as it was.

        Each is the better of two stretches about as long as `seconds`, what is to be compared with them, so that both
        take the machine's ups and downs alike.
        """
        library, n = _library(), self.threads
        cpus = (ctypes.c_int * n)(*sorted(os.sched_getaffinity(0))[:n])
        each = min(max(seconds, 1e-4), 2e-2)
        flops = {self.isa: _flops(library, self.isa, 0, n, cpus, each * self.peak)}
        reads = {
            name: _bandwidth(library, self.isa, _span(name, self.sizes, n), 0, n, cpus, each * self.bandwidth[name])
            for name in set(levels)
        }
        multiplied = {product: self._multiply(product, each, cpus) for product in set(products)}
        return replace(
            self,
            flops=self.flops | flops,
            bandwidth=self.bandwidth | reads,
            products=self.products | multiplied,
            exponential=_exponential(library, self.isa, 0, n, cpus),
            chained=_exponential(library, self.isa, 1, n, cpus),
        )

    def _multiply(self, product: Product, seconds: float, cpus: ctypes.Array) -> float:
        """Seconds of a product, taken the fastest way, which is found out once."""
        known = (self.isa, self.threads, product)
        ways = [_FASTEST[known]] if known in _FASTEST else TILES
        taken = {way: _product_seconds(self, product, *way, seconds, cpus) for way in ways}
        _FASTEST[known] = min(taken, key=taken.__getitem__)
        return taken[_FASTEST[known]]

    def level(self, n_bytes: float) -> str:
        """The level that holds so many bytes when each thread keeps its part of them; L1 and L2 are a core's own."""
        for name, size in self.sizes.items():
            if n_bytes <= size * (1 if name == "L3" else self.threads):
                return name
        return "DRAM"


_FASTEST: dict[tuple[str, int, Product], tuple[int, int]] = {}


def measure(threads: int = 1, isa: str | None = None, seconds: float = 0.2) -> Limits:
    """Measure the limits of `threads` threads, spending about `seconds` on each figure.

    Raises
    ------
    NoLimitsError
        If there is no C compiler, or not enough processors.
    """
    library = _library()
    cpus = sorted(os.sched_getaffinity(0))
    if threads > len(cpus):
        raise NoLimitsError(f"limits: {threads} threads asked for, this process may run on {len(cpus)} processors")
    usable = [name for name in ISAS if name in cpu()["present"]]
    isa = isa or cpu()["in_use"]
    if isa not in usable:
        raise InputError(f"limits: instruction set {isa!r}: expected one of {', '.join(usable)}")
    chosen = (ctypes.c_int * threads)(*cpus[:threads])
    sizes, notes = cache_sizes()
    flops = {name: _flops(library, name, seconds, threads, chosen) for name in usable}
    levels = [*sizes, "DRAM"]
    bandwidth = {
        name: _bandwidth(library, isa, _span(name, sizes, threads), seconds, threads, chosen) for name in levels
    }
    trips = 20000
    round_trip = library.bench_round_trip(cpus[0], cpus[1], trips, 8) / trips if len(cpus) > 1 else None
    exponentials = [_exponential(library, isa, chain, threads, chosen) for chain in (0, 1)]
    return Limits(isa, threads, flops, bandwidth, sizes, round_trip, notes, {}, *exponentials)


def _span(level: str, sizes: dict[str, int], threads: int) -> int:
    """Bytes that each thread reads to measure a level: half of its own cache, its part of a quarter of a shared one."""
    if level == "DRAM":
        return max(4 * max(sizes.values()), 64 << 20) // threads
    return sizes[level] // (4 * threads) if level == "L3" else sizes[level] // 2


def cache_sizes() -> tuple[dict[str, int], list[str]]:
    """Bytes of the first processor's data caches, and notes on those that had to be assumed."""
    sizes, notes = {}, []
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            unit = {"K": 1 << 10, "M": 1 << 20}.get(size[-1], 1)
            sizes[f"L{level}"] = int(size.rstrip("KM")) * unit
    if not {"L1", "L2"} <= set(sizes):
        sizes = dict(ASSUMED)
        notes.append("cache sizes are unknown here; 32 KiB, 1 MiB and 32 MiB are assumed")
    return {name: sizes[name] for name in ("L1", "L2", "L3") if name in sizes}, notes


def _flops(
    library: ctypes.CDLL, isa: str, seconds: float, threads: int, cpus: ctypes.Array, stretch: float = 0.0
) -> float:
    """Operations a second; `stretch` is how many to do at a time, where they are not to be few."""
    number, lanes = ISAS[isa]
    once = 2.0 * library.bench_products() * lanes * threads
    n = int(max(12_000, stretch / once))
    repeats = _repeats(library.bench_fma(number, n, 1, 1, cpus), seconds) if seconds else 2
    return _checked(library.bench_fma(number, n, repeats, threads, cpus), once * n)


def _bandwidth(
    library: ctypes.CDLL,
    isa: str,
    span: int,
    seconds: float,
    threads: int,
    cpus: ctypes.Array,
    stretch: float = 0.0,
) -> float:
    """Bytes a second; `stretch` is how many to read at a time, where they are not to be few."""
    number, lanes = ISAS[isa]
    once = 8 * 4 * lanes
    span = max(span - span % once, once)
    passes = int(max(2, (8 << 20) // span, stretch / (span * threads)))
    repeats = _repeats(library.bench_read(number, span, passes, 1, 1, cpus), seconds) if seconds else 2
    taken = library.bench_read(number, span, passes, repeats, threads, cpus)
    return _checked(taken, float(span) * passes * threads)


def _product_seconds(
    limits: Limits, product: Product, vectors: int, fetch: int, seconds: float, cpus: ctypes.Array
) -> float:
    """Seconds of one product, with whole panels of so many vectors, as a share of a stretch of `seconds`."""
    number, lanes = ISAS[limits.isa]
    panel = 4 * product.terms * vectors * lanes
    n_bytes = max(product.n_bytes // panel, 1) * panel
    flops = 2.0 * product.rows * n_bytes / 4 * limits.threads
    n = 2 * int(max(1, seconds * limits.peak / flops / 2))
    shape = product.rows, product.terms, n_bytes, vectors, fetch
    taken = _library().bench_multiply(number, *shape, n, 2, limits.threads, cpus)
    return product.n_bytes / n_bytes / _checked(taken, n)


def _exponential(library: ctypes.CDLL, isa: str, chain: int, threads: int, cpus: ctypes.Array) -> float:
    """Seconds of one, of a vector."""
    n = 20_000
    return 1 / _checked(library.bench_exponentials(ISAS[isa][0], chain, n, 3, threads, cpus), float(n))


def _repeats(once: float, seconds: float) -> int:
    return int(min(max(seconds / max(once, 1e-6), 3), 1000))


def _checked(taken: float, amount: float) -> float:
    if taken <= 0:
        raise NoLimitsError("limits: a thread could not be pinned to its processor, or memory was refused")
    return amount / taken


@cache
def _library() -> ctypes.CDLL:
    """limits.c, compiled and loaded; the file goes, the loaded code stays."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", ""), "cc", "gcc", "clang"))), None)
    if compiler is None:
        raise NoLimitsError("limits: no C compiler here (cc, gcc, clang or CC); there are no floors without one")
    with tempfile.TemporaryDirectory(prefix="rnnrt-bench-") as folder:
        target = Path(folder, "limits.so")
        done = subprocess.run([compiler, *FLAGS, str(SOURCE), "-o", str(target)], capture_output=True, text=True)
        if done.returncode:
            raise NoLimitsError(f"limits: {compiler} failed: {(done.stderr.strip().splitlines() or ['no message'])[0]}")
        library = ctypes.CDLL(str(target))
    integers = ctypes.POINTER(ctypes.c_int)
    library.bench_fma.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_int, ctypes.c_int, integers]
    library.bench_read.argtypes = [ctypes.c_int, ctypes.c_size_t, *library.bench_fma.argtypes[1:]]
    shape = ctypes.c_long, ctypes.c_long, ctypes.c_size_t, ctypes.c_int, ctypes.c_int
    library.bench_multiply.argtypes = [ctypes.c_int, *shape, *library.bench_fma.argtypes[1:]]
    library.bench_exponentials.argtypes = [ctypes.c_int, ctypes.c_int, *library.bench_fma.argtypes[1:]]
    library.bench_round_trip.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_int]
    measures = "fma", "read", "multiply", "exponentials", "round_trip"
    for name in measures:
        getattr(library, f"bench_{name}").restype = ctypes.c_double
    return library


def table(limits: list[Limits]) -> report.Table:
    """The figures of several thread counts side by side."""
    columns = ["limit", *(f"{one.threads} thread{'s' * (one.threads > 1)}" for one in limits)]
    rows = [[f"{isa} peak", *(f"{one.flops[isa] / 1e9:.1f} GFLOP/s" for one in limits)] for isa in limits[0].flops]
    for name in limits[0].bandwidth:
        size = f" ({limits[0].sizes[name] >> 10} KiB)" if name in limits[0].sizes else ""
        rows.append([f"{name}{size} read", *(f"{one.bandwidth[name] / 1e9:.1f} GB/s" for one in limits)])
    for name, what in (("exponential", "an exponential"), ("chained", "one after another, with a division")):
        rows.append([f"{what}, a vector", *(f"{1e9 * getattr(one, name):.2f} ns" for one in limits)])
    if limits[0].round_trip:
        rows.append(["core to core and back", *(f"{1e9 * (one.round_trip or 0):.0f} ns" for one in limits)])
    return report.Table(f"limits of this machine (reads by {limits[0].isa})", columns, rows)


def main(
    threads: Annotated[str, typer.Option(metavar="N,…", help="Thread counts.")] = "1,2",
    seconds: Annotated[float, typer.Option(min=0.01, help="Time for each figure.")] = 0.2,
    isa: Annotated[str, typer.Option(help="Instruction set of the reads; the one in use by default.")] = "",
) -> None:
    """Measure the limits of this machine."""
    measured = [measure(n, isa or None, seconds) for n in report.thread_counts(threads)]
    report.show(table(measured))
    for note in measured[0].notes:
        report.say(note)


if __name__ == "__main__":
    report.run(main)
