"""What stdin and stdout may be besides pipes: sockets, files, a terminal."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

PROBE = Path(__file__).parents[1] / "programs" / "probe_server.py"
COMMAND = [sys.executable, str(PROBE), "stdio"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sockets and terminals as descriptors are POSIX's")


def _socket_pairs() -> tuple[socket.socket, socket.socket, socket.socket, socket.socket]:
    ours_in, theirs_in = socket.socketpair()
    ours_out, theirs_out = socket.socketpair()
    return ours_in, theirs_in, ours_out, theirs_out


def test_sockets_for_stdin_and_stdout_work_as_pipes_do() -> None:
    ours_in, theirs_in, ours_out, theirs_out = _socket_pairs()
    with ours_in, ours_out, ours_out.makefile("rb") as replies:
        with subprocess.Popen(
            COMMAND, stdin=theirs_in.fileno(), stdout=theirs_out.fileno(), stderr=subprocess.DEVNULL
        ) as process:
            theirs_in.close()
            theirs_out.close()
            ours_in.sendall(_discover() + _discover())
            assert [json.loads(replies.readline())["id"] for _ in range(2)] == [1, 1]
            ours_in.close()
            assert replies.read() == b""
        assert process.returncode == 0


def test_one_socket_for_both_directions_works() -> None:
    ours, theirs = socket.socketpair()
    with ours, ours.makefile("rb") as replies:
        with subprocess.Popen(
            COMMAND, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.DEVNULL
        ) as process:
            theirs.close()
            for _ in range(2):
                ours.sendall(_discover())
                assert json.loads(replies.readline())["id"] == 1
            ours.shutdown(socket.SHUT_WR)
            assert replies.read() == b""
        assert process.returncode == 0


def test_files_for_stdin_and_stdout_work(tmp_path: Path) -> None:
    requests, replies = tmp_path / "requests", tmp_path / "replies"
    requests.write_bytes(b"garbage\n" + _discover())
    with requests.open("rb") as stdin, replies.open("wb") as stdout:
        done = subprocess.run(COMMAND, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, timeout=60, check=False)
    assert [json.loads(line)["id"] for line in replies.read_bytes().splitlines()] == [None, 1]
    assert done.returncode == 0
    assert done.stderr.decode().splitlines()[-2:] == ["stopped", "exit 0"]


def _terminal(end: Callable[[subprocess.Popen[bytes], int], None]) -> int:
    controller, terminal = os.openpty()
    with subprocess.Popen(COMMAND, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        os.close(terminal)
        os.write(controller, _discover())
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["id"] == 1
        end(process, controller)
        code = process.wait(30)
    os.close(controller)
    return code


def test_a_signal_ends_a_process_that_reads_from_a_terminal() -> None:
    assert _terminal(lambda process, _: process.send_signal(signal.SIGINT)) == 130


def test_end_of_transmission_on_a_terminal_ends_the_process() -> None:
    assert _terminal(lambda _, controller: cast("None", os.write(controller, b"\x04"))) == 0


def _discover() -> bytes:
    meta: dict[str, object] = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": meta}}
    return json.dumps(message).encode() + b"\n"
