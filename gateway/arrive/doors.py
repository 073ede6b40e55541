"""Open the doors, and close them so that no mail on its way in is lost."""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

from gateway.arrive.crowd import Shared
from gateway.arrive.smtp import STOPPING, Door, LmtpDoor, Settings
from gateway.arrive.submission import SubmissionDoor, Submitters

STOPPING_S = 20.0


@dataclass(slots=True)
class Doors:
    """The open doors of a node. `submitters` are asked who logs in."""

    shared: Shared
    submitters: Submitters | None = None
    servers: list[asyncio.Server] = field(default_factory=list)

    async def open(self, settings: Settings, host: str, port: int) -> str:
        """Open a door at `host:port`, or at the socket `host` where `port` is -1; return its address."""
        loop = asyncio.get_running_loop()
        submitters = self.submitters if settings.name == "submission" else None
        if settings.name == "submission" and submitters is None:
            message = "submission needs somebody to ask who logs in"
            raise ValueError(message)

        def session() -> Door:
            if submitters is not None:
                return SubmissionDoor(self.shared, settings, loop, submitters)
            return (LmtpDoor if settings.name == "lmtp" else Door)(self.shared, settings, loop)

        if port < 0:
            await asyncio.to_thread(Path(host).unlink, missing_ok=True)
            server: asyncio.Server = await loop.create_unix_server(session, host)
            at = f"unix:{host}"
        else:
            server = await loop.create_server(session, host, port, backlog=1024)
            name = server.sockets[0].getsockname()
            at = f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
        self.servers.append(server)
        return at

    async def close(self) -> None:
        """Take no more connections, let mails that are arriving be kept, then hang up."""
        sessions = self.shared.sessions
        for server in self.servers:
            server.close()
        for session in list(sessions):
            session.end(STOPPING, unless_busy=True)
        until = time.monotonic() + STOPPING_S
        while sessions and time.monotonic() < until:
            await asyncio.sleep(0.05)
            for session in list(sessions):
                session.end(STOPPING, unless_busy=True)
        for session in list(sessions):
            session.end(STOPPING)
        await self.shared.acceptor.drained()
