"""What a person gets wrong: one error that names the setting or object, cause and remedy, and no traceback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from local.stack import LocalStack
from local.state import State
from tests.end_to_end.local import Done, Local

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("bad-input")]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A configured stack with nothing in it: previews of it reach no object."""
    stack = Local(tmp_path_factory.mktemp("empty"))
    prepared = LocalStack(State(stack.folder))
    prepared.start_fly()
    prepared.configure(*prepared.start_provider())
    yield stack
    stack.run("reset")


def preview(stack: Local, *settings: tuple[str, str]) -> Done:
    options = [option for key, value in settings for option in ("--config", f"hotdash-llm-gateway:{key}={value}")]
    return stack.pulumi("preview", *options, check=False)


BAD = [
    ("gatewayHostname", "https://x", "gatewayHostname is 'https://x'; give a host name alone"),
    ("region", "chicago", "region is 'chicago'"),
    (
        "groups",
        '{"edge": {"count": 1, "cpuKind": "shared", "cpus": 3, "memoryMb": 256}}',
        "groups.edge asks for 3 cpus",
    ),
    ("teams", '{"a": {"requestsPerMinute": 0}}', "teams.a.requestsPerMinute"),
    ("images", '{"edge": "caddy:latest", "gateway": "a:1"}', "that tag moves"),
    ("flyToken", "plain", "flyToken"),
]


@pytest.mark.parametrize(("key", "value", "message"), BAD, ids=[key for key, _, _ in BAD])
def test_a_bad_setting_is_one_message(empty: Local, key: str, value: str, message: str) -> None:
    done = preview(empty, (key, value))
    assert done.code != 0
    assert message in done.out
    assert "Traceback" not in done.out


def up(stack: Local) -> Done:
    return stack.pulumi("up", "--yes", "--skip-preview", check=False)


@pytest.fixture
def changed(empty: Local) -> Iterator[dict[str, str]]:
    """Settings a test changes; put back afterwards."""
    file = empty.folder / "Pulumi.local.yaml"
    before = file.read_text()
    yield {}
    file.write_text(before)


@pytest.mark.usefixtures("changed")
def test_another_organisations_app_name_is_refused(empty: Local) -> None:
    empty.pulumi("config", "set", "app", "taken-by-others")
    done = up(empty)
    assert done.code != 0
    assert "taken-by-others" in done.out
    assert "organization" in done.out
    assert "Traceback" not in done.out


@pytest.mark.usefixtures("changed")
def test_a_wrong_token_is_named(empty: Local) -> None:
    finished = empty.pulumi("config", "set", "--secret", "flyToken", "--", "wrong-token-of-a-test")
    assert finished.code == 0
    done = up(empty)
    assert done.code != 0
    assert "flyToken" in done.out
    assert "wrong-token-of-a-test" not in done.out
    assert "Traceback" not in done.out


@pytest.mark.usefixtures("changed")
def test_fly_being_down_is_named(empty: Local) -> None:
    empty.pulumi("config", "set", "flyApiUrl", "http://127.0.0.1:9")
    done = up(empty)
    assert done.code != 0
    assert "http://127.0.0.1:9" in done.out
    assert "flyApiUrl" in done.out
    assert "Traceback" not in done.out


class _Html(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        body = b"<!doctype html><html><head><title>Bad gateway</title></head><body>nothing here</body></html>"
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = _answer
    do_POST = _answer

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: the test reads the program's output."""


@pytest.mark.usefixtures("changed")
def test_html_instead_of_fly_is_named(empty: Local) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Html) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        empty.pulumi("config", "set", "flyApiUrl", f"http://127.0.0.1:{server.server_port}")
        done = up(empty)
        server.shutdown()
    assert done.code != 0
    assert "HTML" in done.out
    assert "flyApiUrl" in done.out
    assert "Traceback" not in done.out
