"""Records behave as dataclasses with slots do, as far as they are used."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from rnnrt.graph import Graph, Node, Value
from rnnrt.records import field, record, replaced


@record
class Point:
    """A record."""

    x: int
    y: int = 2
    names: list[str] = field(default_factory=list)

    def total(self) -> int:
        return self.x + self.y


def test_fields_come_by_place_name_or_default():
    assert (Point(1).x, Point(1).y, Point(1, 3).y, Point(x=4).x, Point(1).total()) == (1, 2, 3, 4, 3)
    assert Point(1, names=["a"]).names == ["a"]
    assert Point.__doc__ == "A record."
    with pytest.raises(TypeError):
        Point()


def test_defaults_are_made_anew():
    a, b = Point(1), Point(1)
    a.names.append("a")
    assert b.names == []


def test_other_attributes_are_refused():
    with pytest.raises(AttributeError):
        Point(1).z = 1


def test_a_copy_may_differ():
    a = Point(1, names=["a"])
    b = replaced(a, x=5)
    assert (a.x, b.x, b.y) == (1, 5, 2)
    assert b.names is a.names


def test_it_shows_its_fields():
    assert repr(Point(1)) == "Point(x=1, y=2, names=[])"


def test_equality():
    assert Point(1) != Point(1)
    assert Node("A", [], []) != Node("A", [], [])
    assert Graph([], [], [], {}) != Graph([], [], [], {})
    a, b = (Value("x", np.dtype(np.float32), (1, "n")) for _ in range(2))
    assert a == b
    assert a != Value("x")
    assert a != ("x",)
    with pytest.raises(TypeError):
        hash(a)


def test_values_are_copied_and_pickled():
    a = Value("x", np.dtype(np.float32), (1, "n"))
    assert copy.copy(a) == copy.deepcopy(a) == pickle.loads(pickle.dumps(a)) == a
