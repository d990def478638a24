"""Wait for files and times in one thread, and take results from others."""

import heapq
import itertools
import os
import select
import time
from typing import Callable, Dict, List, Optional, Tuple

Callback = Callable[[], None]
#: How long it waits where no timer is set.
_LONGEST_S = 3600.0


class Timer:
    """A call that is to come."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callback) -> None:
        self._callback: Optional[Callback] = callback

    def cancel(self) -> None:
        """Cancel the call and release what it holds."""
        self._callback = None

    def run(self) -> None:
        """Call, unless cancelled."""
        if self._callback is not None:
            self._callback()


class Loop:
    """Linux's own poll and a heap of timers: under emulation each layer above them is felt."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._timers: List[Tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._running = False
        #: What is waited for on each file, and what is called then.
        self._watched: Dict[int, int] = {}
        self._callbacks: Dict[int, Callback] = {}
        self._results: List[Callback] = []
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self.watch(self._wake_read, self._take_results)

    def watch(self, fd: int, callback: Callback, writing: bool = False, reading: bool = True) -> None:
        """Call back whenever the file can be read (or, with ``writing``, written), or has broken."""
        events = (select.EPOLLIN if reading else 0) | (select.EPOLLOUT if writing else 0)
        known = self._watched.get(fd)
        if known is None:
            self._poll.register(fd, events)
        elif known != events:
            self._poll.modify(fd, events)
        self._watched[fd] = events
        self._callbacks[fd] = callback

    def unwatch(self, fd: int) -> None:
        """Forget the file; before it is closed."""
        if self._watched.pop(fd, None) is not None:
            del self._callbacks[fd]
            self._poll.unregister(fd)

    def after(self, seconds: float, callback: Callback) -> Timer:
        """Call back once, later."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def call_from_thread(self, callback: Callback) -> None:
        """Call back in the loop's thread; may be called from any."""
        self._results.append(callback)
        try:
            os.write(self._wake_write, b"!")
        except BlockingIOError:
            pass  # It is awake already.

    def run(self) -> None:
        """Serve until ``stop``."""
        self._running = True
        poll, find, now = self._poll.poll, self._callbacks.get, time.monotonic
        while self._running:
            timeout_s = self._timers[0][0] - now() if self._timers else _LONGEST_S
            if timeout_s <= 0.0:
                self._run_timers()
                timeout_s = 0.0
            for fd, _ in poll(timeout_s):
                # A callback before this one may have let the file go.
                callback = find(fd)
                if callback is not None:
                    callback()

    def stop(self) -> None:
        """Return from ``run`` after the present callback; may be called from a signal handler."""
        self._running = False
        self.call_from_thread(lambda: None)

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._running and self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2].run()

    def _take_results(self) -> None:
        os.read(self._wake_read, 4096)
        while self._results:
            self._results.pop(0)()
