"""Contestants in processes of their own. Each gets one request at a time, so that only one of them computes."""

import concurrent.futures
import contextlib
import ctypes
import multiprocessing
import os
import pathlib
import re
import socket
import time
import traceback

from benchmarks.peers import CONTESTANTS, Maker

REPETITION = 0.3  # The least number of seconds per repetition. A short call is repeated until then.


def set_environment(threads):
    """Sets the environment of all processes: the number of threads of each, TensorFlow with oneDNN, and silence."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    os.environ.update(dict.fromkeys(names, str(threads)))
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"  # The default is on with AVX-512 only.
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", PYTHONWARNINGS="ignore", CUDA_VISIBLE_DEVICES="-1")


class Worker:
    """A process with a contestant, created at the first request.

    Args:
      maker: `peers.Maker`.

    Raises:
      RuntimeError: from every method, for an exception in the process, or for its death.
    """

    def __init__(self, maker):
        context = multiprocessing.get_context("spawn")
        self._maker, (self._connection, theirs) = maker, context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, maker), daemon=True)
        self._process.start()
        theirs.close()
        self._ask("imports")

    def call(self, method, *arguments):
        """The result of the contestant's method."""
        return self._ask("call", method, *arguments)

    def seconds(self, method):
        """Seconds per call of the contestant's method."""
        return self._ask("seconds", method)

    def first_seconds(self, method):
        """Seconds to create the contestant and to call its method once."""
        return self._ask("first_seconds", method)

    def megabytes(self, method):
        """Megabytes of the process before a call of the contestant's method, and their largest growth in the call."""
        return self._ask("megabytes", method)

    def close(self):
        """Ends the process."""
        self._connection.close()
        self._process.join(timeout=5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _ask(self, *request):
        try:
            self._connection.send(request)
            is_good, value = self._connection.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            raise RuntimeError(
                f"the process of {self._maker.path} died with exit code {self._process.exitcode}; was it the memory?"
            ) from None
        if not is_good:
            raise RuntimeError(f"in the process of {self._maker.path}:\n{value}")
        return value


class Team:
    """Workers that train a flow together, each on a core of its own.

    Args:
      family, config, batch_size: see `peers.distributed.Share`.
      cores: list of the cores' numbers; with one core, one worker trains alone.
    """

    def __init__(self, family, config, batch_size, cores):
        with contextlib.ExitStack() as sockets:
            servers = [sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in cores]
            addresses = [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]
        options = dict(family=family, config=config, batch_size=batch_size, addresses=addresses)
        makers = [
            Maker("peers.distributed:Share", dict(index=index, core=core, **options))
            for index, core in enumerate(cores)
        ]
        self._threads = concurrent.futures.ThreadPoolExecutor(len(cores))
        self._workers = list(self._threads.map(Worker, makers))

    def call(self, method, *arguments):
        """List of the results of all workers, which run at the same time."""
        return list(self._threads.map(lambda worker: worker.call(method, *arguments), self._workers))

    def seconds(self, steps):
        """Seconds for this number of steps."""
        return max(self.call("seconds", steps))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for worker in self._workers:
            worker.close()
        self._threads.shutdown()


class Pool:
    """The workers of contestants by name, each started and warmed up at its first use.

    Args:
      report: function that prints a line of progress.
      contestants: name ↦ `peers.Maker`.
    """

    def __init__(self, report=print, contestants=CONTESTANTS):
        self._workers, self._warm, self._report, self._contestants = {}, set(), report, contestants

    def get(self, name, method):
        """The worker of this name. Earlier calls of the method have compiled everything."""
        if name not in self._workers:
            self._workers[name] = Worker(self._contestants[name])
        if (name, method) not in self._warm:
            self._report(f"warming up {name}: {method}")
            for _ in range(2):
                self._workers[name].call(method)
            self._warm.add((name, method))
        return self._workers[name]

    def close(self):
        """Ends all processes; the next use restarts them."""
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()
        self._warm.clear()


class _Server:
    """The other end of a `Worker`: its methods answer the requests."""

    def __init__(self, maker):
        self._maker, self._contestant = maker, None

    def imports(self):
        self._maker = self._maker.imported()

    def make(self):
        self._contestant = self._contestant or self._maker()

    def call(self, method, *arguments):
        self.make()
        result = getattr(self._contestant, method)(*arguments)
        return result if isinstance(result, (int, float, str, dict)) else None  # No arrays through the pipe.

    def seconds(self, method):
        self.make()
        function, calls, start = getattr(self._contestant, method), 0, time.perf_counter()
        while calls == 0 or time.perf_counter() - start < REPETITION:
            function()
            calls += 1
        return (time.perf_counter() - start) / calls

    def first_seconds(self, method):
        start = time.perf_counter()
        self.make()
        getattr(self._contestant, method)()
        return time.perf_counter() - start

    def megabytes(self, method):
        self.make()
        ctypes.CDLL(None).malloc_trim(0)  # Memory that tracing has freed would hide growth.
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # It resets the peak.
        before = _status("VmRSS")
        getattr(self._contestant, method)()
        return before, _status("VmHWM") - before


def _status(field):
    """A field of Linux's report on this process, in megabytes."""
    report = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", report).group(1)) / 1024


def _serve(connection, maker):
    """Answers requests until the other end closes."""
    server = _Server(maker)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            name, *arguments = connection.recv()
            try:
                answer = True, getattr(server, name)(*arguments)
            except Exception:
                answer = False, traceback.format_exc()
            connection.send(answer)
