"""The pool of threads: callers take turns, and what waits for a slot keeps no thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from astrolabe.core.errors import OverloadError
from astrolabe_api.common.pools import WorkPool


@pytest.fixture
def pool() -> Iterator[WorkPool]:
    made = WorkPool("test", threads=1, waiting=50)
    yield made
    made.close()


class Order:
    """Work that leaves its name; the pool's only thread is held back until `go`."""

    def __init__(self, pool: WorkPool) -> None:
        self.pool = pool
        self.names: list[str] = []
        self.gate = threading.Event()
        self.begun = threading.Event()
        pool.submit(self._hold)
        assert self.begun.wait(5)

    def _hold(self) -> None:
        self.begun.set()
        self.gate.wait(5)

    def work(self, name: str) -> Callable[[], None]:
        return lambda: self.names.append(name)

    def go(self) -> list[str]:
        done = threading.Event()
        self.pool.submit(done.set, lane="last")
        self.gate.set()
        assert done.wait(5)
        return self.names


def test_one_callers_many_do_not_keep_anothers_one_waiting(pool: WorkPool) -> None:
    order = Order(pool)
    for number in range(10):
        pool.submit(order.work(f"script {number}"), lane=("ada", False))
    pool.submit(order.work("portal"), lane=("ada", True))
    pool.submit(order.work("bob"), lane=("bob", False))
    names = order.go()
    assert names[:3] == ["script 0", "portal", "bob"]


def test_within_a_lane_the_first_come_is_the_first(pool: WorkPool) -> None:
    order = Order(pool)
    for number in range(5):
        pool.submit(order.work(str(number)), lane="ada")
    threads = [str(number) for number in range(5)]
    pool.submit(order.work("x"), lane="bob")
    names = order.go()
    assert [name for name in names if name != "x"] == threads[: len(names) - 1]


def test_begun_work_goes_before_all_new(pool: WorkPool) -> None:
    order = Order(pool)
    pool.submit(order.work("new"), lane="ada")
    pool.resume(order.work("begun"))
    assert order.go()[0] == "begun"


def test_withdrawn_work_is_not_done_and_makes_room(pool: WorkPool) -> None:
    order = Order(pool)
    waiting = [order.work(str(number)) for number in range(50)]
    for number, work in enumerate(waiting):
        pool.submit(work, lane=number % 3)
    with pytest.raises(OverloadError):
        pool.submit(order.work("too many"), lane="ada")
    for work in waiting[1:]:
        assert pool.withdraw(work)
    assert not pool.withdraw(waiting[1])
    assert order.go() == ["0"]
