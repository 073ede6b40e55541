"""A private port for /metrics, /healthz and /readyz."""

import threading
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway import maillog
from gateway.config import parse_listen
from gateway.store import status
from gateway.store.session import Away, Store
from gateway.worker import now_ms

_TIMEOUT_S = 10


class MetricsServer:
    """Answers in a thread of its own; it reads the store, and changes nothing."""

    def __init__(self, listen: str, store: Store) -> None:
        """Bind `listen` (HOST:PORT). Raises OSError."""
        host, port = parse_listen(listen)

        class Handler(BaseHTTPRequestHandler):
            timeout = _TIMEOUT_S

            def do_GET(self) -> None:
                code, kind, octets = _answer(self.path, store)
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(octets)))
                self.end_headers()
                self.wfile.write(octets)

            def log_message(self, *_arguments: object) -> None:
                return

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True

    def start(self) -> str:
        """Begin to answer; return the address."""
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def stop(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


def _answer(path: str, store: Store) -> tuple[int, str, bytes]:
    plain = "text/plain; charset=utf-8"
    if path == "/healthz":
        return 200, plain, b"ok\n"
    if path not in ("/metrics", "/readyz"):
        return 404, plain, b"there are /metrics, /healthz and /readyz\n"
    try:
        with store.read() as tx:
            waiting = asdict(status.waiting(tx, now_ms()))
    except Away as away:
        return 503, plain, f"the store is away: {away}\n".encode()
    if path == "/readyz":
        return 200, plain, b"ready\n"
    lines = [
        f"# TYPE replygate_waiting_{name} gauge\nreplygate_waiting_{name} {value}\n" for name, value in waiting.items()
    ]
    return 200, CONTENT_TYPE_LATEST, generate_latest(maillog.registry()) + "".join(lines).encode()
