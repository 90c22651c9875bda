"""Reads files in several processes; one that dies takes only the file that killed it along."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait as wait_for
from typing import Final

from astrolabe.images.files import ImageFiles, S3Options
from astrolabe.images.importing.one_file import FileResult, FileTask, read_file
from astrolabe.images.importing.sources import FoundFile

__all__ = ["read_files"]

_WAITING_EACH: Final = 4
"""Files a process that wait or are being read: enough to keep it busy, few enough to end soon."""


class _Process:
    """What a process keeps from one file to the next."""

    task: FileTask
    files: ImageFiles


def read_files(
    found: Iterable[FoundFile], task: FileTask, *, files: ImageFiles, s3: S3Options, workers: int
) -> Iterator[FileResult]:
    """Yield what became of each file, in no order.

    Parameters
    ----------
    found
        The files; taken only as fast as they are read.
    task
        What to do with each.
    files
        Opens files where this process reads them.
    s3
        The object store, for other processes.
    workers
        Processes; with 1 this one reads.
    """
    if workers == 1:
        for file in found:
            yield read_file(file, task, files)
        return
    yield from _Pool(task, s3, workers).run(found)


class _Pool:
    """Processes that read files, and those that take their place when one dies.

    Parameters
    ----------
    task, s3
        Handed to each process when it begins.
    workers
        How many.
    """

    def __init__(self, task: FileTask, s3: S3Options, workers: int) -> None:
        self._task, self._s3, self._workers = task, s3, workers

    def run(self, found: Iterable[FoundFile]) -> Iterator[FileResult]:
        """Yield what became of each file."""
        todo = iter(found)
        ended = False
        while not ended:
            suspects: list[FoundFile] = []
            pool = self._start(self._workers)
            try:
                waiting: dict[Future[FileResult], FoundFile] = {}
                while not suspects:
                    ended = self._fill(pool, waiting, todo)
                    if not waiting:
                        break
                    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in done:
                        file = waiting.pop(future)
                        if isinstance(future.exception(), BrokenProcessPool):
                            suspects.append(file)
                        else:
                            yield future.result()
                suspects += waiting.values() if suspects else ()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
            yield from self._one_by_one(suspects)

    def _fill(
        self,
        pool: ProcessPoolExecutor,
        waiting: dict[Future[FileResult], FoundFile],
        todo: Iterator[FoundFile],
    ) -> bool:
        """Give the pool files; tell whether there are no more."""
        while len(waiting) < _WAITING_EACH * self._workers:
            file = next(todo, None)
            if file is None:
                return True
            try:
                waiting[pool.submit(_read, file)] = file
            except BrokenProcessPool as exc:
                broken: Future[FileResult] = Future()
                broken.set_exception(exc)
                waiting[broken] = file
                return False
        return False

    def _one_by_one(self, suspects: list[FoundFile]) -> Iterator[FileResult]:
        """Read files one after the other: one of them ended a process.

        To blame is a file with which a new process ends.  One that has read others before may
        have ended of those, and the file is read once more.
        """
        todo = deque(suspects)
        pool, is_new = self._start(1), True
        try:
            while todo:
                try:
                    result = pool.submit(_read, todo[0]).result()
                    is_new = False
                except BrokenProcessPool:
                    pool.shutdown()
                    pool, was_new, is_new = self._start(1), is_new, True
                    if not was_new:
                        continue
                    result = FileResult(
                        uri=todo[0].uri,
                        problem="Reading it ended the process that read it (out of memory, or a "
                        "fault in a library).",
                    )
                todo.popleft()
                yield result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _start(self, workers: int) -> ProcessPoolExecutor:
        # Never by fork: it hangs once Arrow has been imported.
        return ProcessPoolExecutor(
            workers,
            mp_context=get_context("spawn"),
            initializer=_begin,
            initargs=(self._task, self._s3),
        )


def _begin(task: FileTask, s3: S3Options) -> None:
    # Control-C goes to all processes of a terminal; the one that imports ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    # What astropy says of odd headers is said once for each of a million files.
    warnings.simplefilter("ignore")
    _Process.task = task
    _Process.files = ImageFiles(s3=s3, open_files=4)


def _end_with_parent() -> None:
    """End when the process that imports is gone, however that ended."""
    parent = parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _read(found: FoundFile) -> FileResult:
    return read_file(found, _Process.task, _Process.files)
