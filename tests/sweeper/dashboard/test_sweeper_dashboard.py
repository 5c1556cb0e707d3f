import http.client
import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.dashboard import READING_METHODS, Guard, is_loopback, make_server
from sweeper.errors import SweepError

HOSTS = frozenset({"127.0.0.1:8080", "localhost:8080"})


def ask(guard: Guard, **environ: str) -> str:
    answers: list[str] = []
    list(guard(environ, lambda status, headers: answers.append(status)))
    return answers[0]


def application(environ, start_response):
    start_response("200 OK", [])
    return [b""]


def request(method: str = "GET", host: str = "127.0.0.1:8080", **more: str) -> dict[str, str]:
    return {"REQUEST_METHOD": method, "HTTP_HOST": host, **more}


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1", "127.0.0.1:1", ""])
@given(method=st.sampled_from(["GET", "HEAD", "POST", "DELETE"]))
def test_a_foreign_host_is_refused(writable: bool, host: str, method: str) -> None:
    assert ask(Guard(application, HOSTS, writable=writable), **request(method, host)).startswith("403")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "QUERY"])
def test_without_write_nothing_is_changed(method: str) -> None:
    assert ask(Guard(application, HOSTS, writable=False), **request(method)).startswith("403")


@pytest.mark.parametrize("method", sorted(READING_METHODS))
def test_reading_is_allowed(method: str) -> None:
    assert ask(Guard(application, HOSTS, writable=False), **request(method, "LOCALHOST:8080")).startswith(
        "200"
    )


@pytest.mark.parametrize(
    "more",
    [
        {"HTTP_ORIGIN": "http://evil.example"},
        {"HTTP_ORIGIN": "http://127.0.0.1:9999"},
        {"HTTP_ORIGIN": "null"},
        {"HTTP_REFERER": "http://evil.example/page"},
        {"HTTP_SEC_FETCH_SITE": "cross-site"},
        {"HTTP_SEC_FETCH_SITE": "same-site"},
    ],
)
def test_other_pages_cannot_write(more: dict[str, str]) -> None:
    assert ask(Guard(application, HOSTS, writable=True), **request("DELETE", **more)).startswith("403")


@pytest.mark.parametrize(
    "more",
    [{}, {"HTTP_ORIGIN": "http://localhost:8080"}, {"HTTP_REFERER": "http://127.0.0.1:8080/dashboard"}],
)
def test_its_own_page_can_write_where_asked(more: dict[str, str]) -> None:
    assert ask(Guard(application, HOSTS, writable=True), **request("DELETE", **more)).startswith("200")


def test_only_loopback_counts() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "192.168.0.3", "example.org", "::")] == [False] * 4


def test_other_addresses_are_refused(filled) -> None:
    with pytest.raises(SweepError, match="this machine alone"):
        make_server(filled.study.storage, host="0.0.0.0")


def test_a_taken_port_is_an_error(filled) -> None:
    server = make_server(filled.study.storage)
    try:
        with pytest.raises(SweepError, match="--port"):
            make_server(filled.study.storage, port=server.server_port)
    finally:
        server.server_close()


class Browser:
    def __init__(self, server) -> None:
        self.port = server.server_port

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, headers={"Host": f"127.0.0.1:{self.port}", **headers})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@pytest.fixture(params=[False, True], ids=["read-only", "writable"])
def served(filled, request):
    server = make_server(filled.study.storage, writable=request.param)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Browser(server), filled, request.param
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_real_dashboard_shows_the_study_and_guards_it(served) -> None:
    browser, filled, writable = served
    status, body = browser.ask("GET", "/api/studies")
    assert status == 200
    (study,) = json.loads(body)["study_summaries"]
    assert study["study_name"] == "mine"
    path = f"/api/studies/{study['study_id']}"
    assert browser.ask("GET", path)[0] == 200
    assert browser.ask("GET", path, Host="evil.example")[0] == 403
    assert browser.ask("DELETE", path, Origin="http://evil.example")[0] == 403
    assert len(filled.store.studies()) == 1
    assert browser.ask("DELETE", path)[0] == (204 if writable else 403)
