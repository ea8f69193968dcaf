"""Runs the program again and again, and loads most of its modules only once.

    python tests/cli/forked.py DESCRIPTOR

The descriptor is a socket; `tests.cli.forking` has the other end. This process loads the libraries
and fastprune, but for the modules of the commands: to load one registers it. It never runs anything
of them. For each run it forks, and the fork becomes the program as `python -m fastprune` does.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import inspect
import json
import logging
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import time
import uuid
from typing import NamedTuple

import anyio._backends._asyncio
import numpy as np
import orjson
import psutil
import re2
import rich.console
import typer
import uvloop
import yaml

import fastprune
from fastprune.cli.app import COMMANDS
from fastprune.reading import identities

# What takes long to load.
LOADED = (
    *(anyio, asyncio, ctypes, inspect, logging, np, orjson, psutil, re2, rich),
    *(subprocess, typer, uuid, uvloop, yaml),
)

# As much as a command line and its environment may need.
_ROOM = 1 << 20


class Run(NamedTuple):
    """What a fork is to run.

    Attributes:
        words: The command line, without the program.
        env: All environment variables.
        folder: The working directory.
        racy: Changes so many nanoseconds before a scan count as racy.
        descriptors: What become stdin, stdout and stderr.
    """

    words: list[str]
    env: dict[str, str]
    folder: str
    racy: int
    descriptors: list[int]


def load_fastprune() -> None:
    """Loads all modules of fastprune but those of the commands."""
    left_out = {f"fastprune.cli.{command}" for command in COMMANDS} | {"fastprune.__main__"}
    for module in pkgutil.walk_packages(fastprune.__path__, "fastprune."):
        if module.name not in left_out:
            importlib.import_module(module.name)


def wait_for_runs(connection: socket.socket) -> Run:
    """Forks for each run that is asked for, and tells its process id, then its wait status.

    Returns:
        What to run, in a fork. In this process it does not return: it ends with the other end.
    """
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, _ROOM, 3)
        if not message:
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            connection.close()
            return Run(**json.loads(message), descriptors=list(descriptors))
        for descriptor in descriptors:
            os.close(descriptor)
        connection.send(b"%d" % pid)
        connection.send(b"%d" % os.waitpid(pid, 0)[1])


def become(run: Run) -> None:
    """Gives this process the streams, environment, folder and command line of a run."""
    for number, descriptor in enumerate(run.descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(run.env)
    time.tzset()
    os.chdir(run.folder)
    sys.path[0] = run.folder
    sys.argv[1:] = run.words
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # The library that makes faults has read its settings before there were any.
    if "FAULTS_COUNT" in run.env:
        ctypes.CDLL(None).set_up_faults()


def main() -> None:
    load_fastprune()
    # Ctrl-C ends the tests, and so the connection.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    run = wait_for_runs(socket.socket(fileno=int(sys.argv[1])))
    become(run)
    identities.RACY_NANOSECONDS = run.racy
    runpy.run_module("fastprune", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
