"""optuna-dashboard behind a guard: loopback only, foreign pages kept out, read-only unless asked.

optuna-dashboard has no authentication. Without a guard, any page in the same browser can delete studies by sending
a request to the dashboard's address (cross-site request), and a name that resolves to 127.0.0.1 can read them (DNS
rebinding). The guard refuses requests whose Host is not the server's own and writes whose Origin is foreign.
"""

from __future__ import annotations

import ipaddress
import socketserver
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.simple_server import make_server as make_wsgi_server

from sweeper.errors import SweepError
from trainer.errors import MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.storages import BaseStorage

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
ARTIFACTS_FOLDER = "artifacts"


class Guard:
    """A WSGI application in front of another.

    Args:
        application: the dashboard.
        hosts: `host:port` values that the Host header may have.
        writable: whether requests that change something pass.
    """

    def __init__(self, application: Application, hosts: frozenset[str], *, writable: bool) -> None:
        self._application = application
        self._hosts = hosts
        self._writable = writable

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Lets a request through or answers 403."""
        reason = self._refusal(environ)
        if reason is None:
            return self._application(environ, start_response)
        body = reason.encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response("403 Forbidden", headers)
        return [body]

    def _refusal(self, environ: Environ) -> str | None:
        host = str(environ.get("HTTP_HOST", "")).lower()
        if host not in self._hosts:
            return "This dashboard answers only under its own address."
        if environ.get("REQUEST_METHOD", "GET") in READING_METHODS:
            return None
        source = environ.get("HTTP_ORIGIN") or environ.get("HTTP_REFERER")
        if source and urlsplit(str(source)).netloc.lower() not in self._hosts:
            return "Requests from other pages are refused."
        if environ.get("HTTP_SEC_FETCH_SITE", "same-origin") not in {"same-origin", "none"}:
            return "Requests from other pages are refused."
        if not self._writable:
            return "This dashboard is read-only. Start it with --write to change something."
        return None


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class named it
        """Says nothing: the dashboard asks for news every few seconds."""


def make_server(
    storage: BaseStorage,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    writable: bool = False,
    artifacts_folder: Path | None = None,
) -> WSGIServer:
    """A server that is bound and not yet serving.

    Args:
        storage: with the studies.
        host: a loopback address.
        port: 0 takes a free one; see `server_port` of what is returned.
        writable: let the browser change things.
        artifacts_folder: where study folders lie; what was uploaded is in `artifacts` below it.

    Raises:
        MissingExtraError: optuna-dashboard is not installed.
        SweepError: the address is not loopback, or taken.
    """
    if not is_loopback(host):
        raise SweepError(
            "The dashboard listens on this machine alone.",
            value=host,
            rule="It has no authentication: whoever reaches it can read everything.",
            remedy="Leave --host out, and use ssh -L 8080:127.0.0.1:8080 from elsewhere.",
        )
    application = _application(storage, artifacts_folder)
    try:
        server = make_wsgi_server(host, port, application, server_class=_Server, handler_class=_QuietHandler)
    except OSError as error:
        raise SweepError(
            f"The dashboard cannot listen on {host}:{port}: {error.strerror or error}.",
            remedy="Choose another with --port (0 takes a free one).",
        ) from error
    names = {host, "127.0.0.1", "localhost"}
    hosts = frozenset(f"{name}:{server.server_port}" for name in names)
    server.set_app(Guard(application, hosts, writable=writable))
    return server


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _application(storage: BaseStorage, artifacts_folder: Path | None) -> Application:
    try:
        from optuna_dashboard import wsgi
    except ModuleNotFoundError as error:
        raise MissingExtraError("optuna_dashboard", extra="dashboard", purpose="Dashboards") from error
    from optuna.artifacts import FileSystemArtifactStore

    artifact_store = None
    if artifacts_folder is not None and (artifacts_folder / ARTIFACTS_FOLDER).is_dir():
        artifact_store = FileSystemArtifactStore(artifacts_folder / ARTIFACTS_FOLDER)
    application: Application = wsgi(storage, artifact_store=artifact_store)
    return application
