"""The listening socket of `autoheal serve`."""

from __future__ import annotations

import asyncio
import socket

from autoheal.app.serve import listen


def test_answers_are_sent_at_once() -> None:
    """With Nagle's algorithm each answer on a kept connection would wait some 40 ms for the client's word."""

    async def ask() -> int:
        seen: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def came(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listening = listen("127.0.0.1", 0)
        async with await asyncio.start_server(came, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            try:
                return await asyncio.wait_for(seen, 10)
            finally:
                writer.close()

    assert asyncio.run(ask()) != 0
