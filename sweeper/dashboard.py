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

from sweeper.annotate import artifact_path
from sweeper.errors import SweepError
from sweeper.store.dashboard_rows import find_artifact
from trainer.errors import MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from optuna.artifacts import FileSystemArtifactStore
    from optuna.storages import BaseStorage, RDBStorage

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
        artifacts_folder: what is uploaded goes into `artifacts` below it; None: no artifacts are shown.

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


class StudyArtifacts:
    """Serves artifacts from where the sweep keeps them: nothing is copied, and what is shown is always the newest.

    What somebody uploads in the browser goes into a folder of its own. Removing an artifact removes what was uploaded;
    the files of a study go with `puffer-sweep delete --folders` alone.

    Args:
        storage: with the studies.
        uploads: for what is uploaded.
    """

    def __init__(self, storage: RDBStorage, uploads: FileSystemArtifactStore) -> None:
        self._engine = storage.engine
        self._uploads = uploads

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """The content.

        Raises:
            ArtifactNotFound: it was removed, as the checkpoints of all but the best trials are.
        """
        path = self._find(artifact_id)
        return self._uploads.open_reader(artifact_id) if path is None else path.open("rb")

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Keep an upload."""
        self._uploads.write(artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        """Remove an upload; a study's own files stay."""
        if self._find(artifact_id) is None:
            self._uploads.remove(artifact_id)

    def _find(self, artifact_id: str) -> Path | None:
        with self._engine.connect() as connection:
            place = find_artifact(connection, artifact_id)
        return None if place is None else artifact_path(*place)


def _application(storage: BaseStorage, artifacts_folder: Path | None) -> Application:
    try:
        from optuna_dashboard import wsgi
    except ModuleNotFoundError as error:
        raise MissingExtraError("optuna_dashboard", extra="dashboard", purpose="Dashboards") from error
    from optuna.artifacts import FileSystemArtifactStore
    from optuna.storages import RDBStorage

    from sweeper.dashboard_answers import StudyAnswers
    from sweeper.store.quick_storage import QuickStorage

    if not isinstance(storage, RDBStorage):
        plain: Application = wsgi(storage)
        return plain
    artifact_store = None
    if artifacts_folder is not None:
        uploads = artifacts_folder / ARTIFACTS_FOLDER
        artifact_store = StudyArtifacts(storage, FileSystemArtifactStore(uploads))
    quick = QuickStorage(storage)
    return StudyAnswers(wsgi(quick, artifact_store=artifact_store), quick)
