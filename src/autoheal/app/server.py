"""What every service's own server has in common: the socket, uvicorn without its ways, the loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from autoheal.core.errors import Permanent
from autoheal.web.protocol import BoundedProtocol

CONNECTIONS = 4096


class QuietServer(uvicorn.Server):
    """uvicorn, which leaves the signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server_config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=BoundedProtocol,
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        ws="none",
        limit_concurrency=CONNECTIONS,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=3,
    )


def listen(host: str, port: int, variable: str = "AUTOHEAL_PORT") -> socket.socket:
    """The listening socket; Permanent with what to do where the address is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # named, for asyncio switches Nagle's algorithm off only where it is: 40 ms for each answer on a kept connection
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise Permanent(f"cannot listen on {host}:{port}: {error.strerror}; choose another {variable}") from error
    listening.listen(2048)
    listening.setblocking(False)
    return listening


def run_forever(life: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """A service's whole life, in the fastest loop there is here."""
    _allow_many_files()
    try:
        import uvloop
    except ImportError:
        asyncio.run(life())
    else:
        uvloop.run(life())


def _allow_many_files() -> None:
    """Raise the soft limit of open files to the hard one, so that the bound on connections is ours."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
