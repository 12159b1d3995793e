"""Real threads, queues and events, beside gevent's greenlets."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading

import pytest

from asyncflask.asgi import native
from asyncflask.asgi.native import Event, NoThread, start_thread

FIRST = "from gevent import monkey; monkey.patch_all()"
NATIVE = "from asyncflask.asgi import native"
ORDERS = {"patched first": f"{FIRST}\n{NATIVE}\n", "imported first": f"{NATIVE}\n{FIRST}\n"}


def run_patched(order: str, code: str) -> None:
    """Run *code* in a process that gevent has patched."""
    program = ORDERS[order] + textwrap.dedent(code)
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_thread() -> None:
    names: list[str] = []
    thread = start_thread(lambda: names.append(threading.current_thread().name), "a-name")
    thread.join()
    assert (names, thread.is_alive()) == (["a-name"], False)


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_no_thread(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        with pytest.raises(NoThread, match="refused to start another thread"):
            start_thread(int, "a-name")


def test_event() -> None:
    event = Event()
    thread = start_thread(event.wait, "waits")
    assert not event.is_set()
    event.set()
    event.wait()
    thread.join()
    assert event.is_set()


def test_nothing_is_patched_here() -> None:
    assert not native.gevent_patched()


@pytest.mark.parametrize("order", ORDERS)
def test_thread_beside_gevent(order: str) -> None:
    """It is another one, and while it blocks the greenlets go on."""
    run_patched(
        order,
        """
        import gevent, threading
        from gevent import monkey
        get_ident = monkey.get_original("_thread", "get_ident")
        blocked, seen = native.Lock(), []
        blocked.acquire()

        def work():
            with blocked:  # blocks a thread, not a greenlet
                seen.append((get_ident(), threading.current_thread().name))

        thread = native.start_thread(work, "a-name")
        for _ in range(10):
            gevent.sleep(0)
        assert thread.is_alive() and not seen
        blocked.release()
        thread.join()
        assert not thread.is_alive()
        assert seen[0][0] != get_ident() and seen[0][1] == "a-name"
        """,
    )


@pytest.mark.parametrize("order", ORDERS)
def test_queue_of_a_greenlet(order: str) -> None:
    """Nothing is lost or out of order, with many that take and several threads that put."""
    run_patched(
        order,
        """
        import gevent
        from functools import partial
        queues, taken = [], []

        def take():
            queue = native.queue_here()
            queues.append(queue)
            taken.append([queue.get() for _ in range(500)])

        def put(part):
            for number in range(100):
                for queue in queues:
                    queue.put((part, number))

        greenlets = [gevent.spawn(take) for _ in range(20)]
        while len(queues) < 20:
            gevent.sleep(0)
        threads = [native.start_thread(partial(put, part), "puts") for part in range(5)]
        gevent.joinall(greenlets, raise_error=True)
        for thread in threads:
            thread.join()
        for items in taken:
            assert len(items) == 500
            for part in range(5):
                assert [n for p, n in items if p == part] == list(range(100))
        """,
    )


def test_eventlet(monkeypatch: pytest.MonkeyPatch) -> None:
    class Patcher:
        @staticmethod
        def is_monkey_patched(module: str) -> bool:
            return module == "thread"

    monkeypatch.setitem(sys.modules, "eventlet.patcher", Patcher)
    with pytest.raises(RuntimeError, match=r"eventlet\.monkey_patch"):
        start_thread(int, "a-name")
