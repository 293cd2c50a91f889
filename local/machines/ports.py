"""Ports a machine is about to need. On Fly they are its own; here a program on all addresses takes them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

import psutil

from local.contract import LaunchError


def require_free(name: str, address: str, ports: Iterable[int]) -> None:
    """Raises LaunchError that names who holds a port of the address, rather than letting the machine die of it."""
    for port in sorted(set(ports)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    continue  # the machine's program will say better what it may not
                raise LaunchError(
                    f"machine {name}: port {port} of {address} is taken by {_holder(port)}. Stop it: a program that"
                    " listens on all addresses of this computer takes the port from every machine."
                ) from None


def _holder(port: int) -> str:
    for connection in psutil.net_connections("tcp"):
        listens = connection.status == psutil.CONN_LISTEN
        if listens and connection.laddr and connection.laddr.port == port and connection.pid:
            return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return "a process of another user"
