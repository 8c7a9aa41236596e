"""A process with LeRobot imported, from which programs are forked: the import takes longer than a short training.

`Program` stands in for the `subprocess.Popen` of `waldo.train.training`. The forked process runs the same function with
the same options, environment and output; only the interpreter's start and the imports are saved.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

TRAINING = "waldo.train.lerobot_entry"
MAX_REQUEST = 1 << 20


def serve(number: int) -> None:
    """Fork one program per request from the socket with this file descriptor, until it is closed."""
    from waldo.cli.main import main
    from waldo.train import lerobot_entry
    from waldo.train.large_import import large_import

    with large_import():
        import lerobot.scripts.lerobot_train as _train

        from waldo.train import store_training

    del _train, store_training
    connection = socket.socket(fileno=number)
    while True:
        data, descriptors, _, _ = socket.recv_fds(connection, MAX_REQUEST, 1)
        if not data:
            return
        (output,) = descriptors
        child = os.fork()
        if child == 0:
            connection.close()
            run(json.loads(data), output, {TRAINING: lerobot_entry.main, "waldo": main})
        os.close(output)
        connection.send(str(child).encode())
        connection.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def run(request: Mapping[str, Any], output: int, programs: Mapping[str, Callable[[], int | None]]) -> None:
    """Run a program in this process, as the interpreter would, and exit."""
    import torch

    code: object = 1
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # The streams of the parent may belong to files, whose position a pipe does not have.
    sys.stdout, sys.stderr = (open(number, "w", buffering=1) for number in (1, 2))
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = [request["module"], *request["arguments"]]
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    try:
        code = programs[request["module"]]() or 0
    except SystemExit as error:
        code = error.code
        if not isinstance(code, int | None):
            sys.stderr.write(f"{code}\n")
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


class Preloaded:
    """The process with LeRobot; as a context manager it ends with the block.

    Args:
        home: Folder of the hub's cache, which is chosen when the libraries are imported.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
        code = f"import lerobot_server; lerobot_server.serve({theirs.fileno()})"
        # The imports must not start threads, which a fork would not copy.
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        environment["HF_HOME"] = str(home)
        self._server = subprocess.Popen([sys.executable, "-c", code], env=environment, pass_fds=[theirs.fileno()])
        theirs.close()

    def __enter__(self) -> Preloaded:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._server.wait(60)

    @property
    def subprocess(self) -> SimpleNamespace:
        """What `waldo.train.training` uses of the module `subprocess`."""

        def popen(command: Sequence[str], *, env: Mapping[str, str], errors: str, **options: Any) -> Any:
            if command[:3] != [sys.executable, "-m", TRAINING]:
                return subprocess.Popen(command, env=env, errors=errors, **options)  # a launcher
            return Program(self._connection, TRAINING, command[3:], env, errors)

        return SimpleNamespace(Popen=popen, PIPE=subprocess.PIPE, STDOUT=subprocess.STDOUT)

    def waldo(self, *words: str | Path, **environment: str) -> tuple[int, str]:
        """Run a `waldo` command with further environment variables; return its exit code and all its output."""
        program = Program(self._connection, "waldo", [str(word) for word in words], os.environ | environment, "strict")
        with program.stdout:
            output = program.stdout.read()
        return program.wait(), output


class Program:
    """A program in a forked process, with the part of `subprocess.Popen` that `waldo.train.training` uses."""

    def __init__(
        self,
        connection: socket.socket,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        errors: str,
    ) -> None:
        ours, theirs = os.pipe()
        request = {"module": module, "arguments": arguments, "environment": dict(environment)}
        socket.send_fds(connection, [json.dumps(request).encode()], [theirs])
        os.close(theirs)
        self._connection = connection
        self.pid = int(connection.recv(32))
        self.stdout = open(ours, errors=errors)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = int(self._connection.recv(32))
        return self.returncode

    def send_signal(self, number: int) -> None:
        # Like a process that has ended but was not waited for, one that the server has waited for takes any signal.
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)
