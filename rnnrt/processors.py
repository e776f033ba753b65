"""How many processors this process may really use: those it may run on, within the quota of its control groups."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


def usable(groups: Path = GROUPS, mount: Path = MOUNT) -> int:
    """Number of processors that threads of this process can keep busy, at least 1.

    Of a quota of 2.5 processors, 2 count: three threads that wait for each other would all be held up when it is spent.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not on every system
        count = os.cpu_count() or 1
    quota = cpu_quota(groups, mount)
    return count if quota is None else max(1, min(count, int(quota)))


def cpu_quota(groups: Path = GROUPS, mount: Path = MOUNT) -> float | None:
    """The processor time per time that the control groups allow this process; None if they set no bound.

    Parameters
    ----------
    groups
        File that names the groups of this process, a line each: ``number:controllers:path``, 0 and none for version 2.
    mount
        Folder in which the hierarchies of groups are mounted.
    """
    try:
        lines = groups.read_text(errors="replace").splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        for folder in _folders(number, controllers, mount):
            quotas += [quota for group in _with_parents(folder, path) if (quota := _quota(group)) is not None]
    return min(quotas, default=None)


def _folders(number: str, controllers: str, mount: Path) -> list[Path]:
    """Where the hierarchy of a line is mounted, if it may hold a quota."""
    if number == "0" and not controllers:
        return [mount, mount / "unified"]
    return [mount / controllers, mount / "cpu"] if "cpu" in controllers.split(",") else []


def _with_parents(folder: Path, path: str) -> Iterator[Path]:
    """The group's folder and those above it, whose quotas hold for it too.

    Inside a container the path may be the host's, and only the mount's own folder exists.
    """
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    for n in range(len(parts), -1, -1):
        yield folder.joinpath(*parts[:n])


def _quota(group: Path) -> float | None:
    """The quota of one group, of either version."""
    v2 = _numbers(group / "cpu.max")
    v1 = [*_numbers(group / "cpu.cfs_quota_us"), *_numbers(group / "cpu.cfs_period_us")]
    for numbers in (v2, v1):
        if len(numbers) == 2 and numbers[0] > 0 and numbers[1] > 0:
            return numbers[0] / numbers[1]
    return None


def _numbers(file: Path) -> list[int]:
    """The integers in a small file; none where it says ``max``, or cannot be read."""
    try:
        return [int(word) for word in file.read_text(errors="replace").split()]
    except (OSError, ValueError):
        return []
