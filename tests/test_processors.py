"""The processors that count: affinity, and the quotas of control groups of both versions, in folders made up here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rnnrt import processors
from rnnrt.processors import cpu_quota, usable


@pytest.fixture
def system(tmp_path):
    """A function that makes the file of groups and the mounted folders: text by path."""

    def make(groups: str, **files: str) -> tuple[Path, Path]:
        mount = tmp_path / "mount"
        for name, text in files.items():
            path = mount / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "cgroup").write_text(groups)
        return tmp_path / "cgroup", mount

    return make


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000", "cpu.max": "800000 100000"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000", "a/cpu.max": "200000 100000"}, 0.5),
        ("0::/the/hosts/path\n", {"cpu.max": "300000 100000"}, 3),
        ("0::/../../elsewhere\n", {"cpu.max": "300000 100000"}, 3),
        ("1:name=systemd:/\n0::/\n", {"unified/cpu.max": "100000 50000"}, 2),
        (
            "4:cpu,cpuacct:/x\n",
            {"cpu,cpuacct/x/cpu.cfs_quota_us": "250000", "cpu,cpuacct/x/cpu.cfs_period_us": "100000"},
            2.5,
        ),
        ("4:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, None),
        ("4:cpuacct,cpu:/docker/1\n", {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ("4:cpuset:/x\n", {"cpuset/x/cpu.cfs_quota_us": "1", "cpuset/x/cpu.cfs_period_us": "1"}, None),
        ("0::/\n", {"cpu.max": "a lot\n"}, None),
        ("0::/\n", {"cpu.max": "100000 0\n"}, None),
        ("0::/\n", {"cpu.max": ""}, None),
        ("nonsense\n\n::::\n", {}, None),
    ],
)
def test_quotas(system, groups, files, quota):
    assert cpu_quota(*system(groups, **files)) == quota


def test_no_groups_at_all(tmp_path):
    assert cpu_quota(tmp_path / "none", tmp_path) is None


@pytest.mark.parametrize(("quota", "count"), [("max", 8), ("250000", 2), ("1000", 1), ("9900000", 8)])
def test_usable_is_the_smaller_one_and_at_least_one(system, monkeypatch, quota, count):
    monkeypatch.setattr(processors.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert usable(*system("0::/\n", **{"cpu.max": f"{quota} 100000"})) == count


def test_usable_without_affinity(monkeypatch, tmp_path):
    monkeypatch.delattr(processors.os, "sched_getaffinity", raising=False)
    assert usable(tmp_path / "none", tmp_path) == os.cpu_count()
    monkeypatch.setattr(processors.os, "cpu_count", lambda: None)
    assert usable(tmp_path / "none", tmp_path) == 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity here")
def test_usable_here():
    assert 1 <= usable() <= len(os.sched_getaffinity(0))
