"""What a person gets wrong: one error that names the setting or object, cause and remedy, and no traceback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.end_to_end.local import Local, prepared

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("bad-input")]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A configured stack with nothing in it: previews of it reach no object."""
    with prepared(tmp_path_factory.mktemp("empty")) as stack:
        yield stack


BAD = [
    ("gatewayHostname", "https://x", "gatewayHostname is 'https://x'; give a host name alone"),
    ("region", "chicago", "region is 'chicago'"),
    ("regoin", "ord", "regoin is no setting of this program; did you mean region?"),
    ("groups", {"edge": {"count": 1, "cpuKind": "shared", "cpus": 3, "memoryMb": 256}}, "groups.edge asks for 3 cpus"),
    ("teams", {"a": {"requestsPerMinute": 0}}, "teams.a.requestsPerMinute"),
    ("images", {"edge": "caddy:latest", "gateway": "a:1"}, "that tag moves"),
    ("flyToken", "plain", "must be encrypted as it's secret"),
    ("flyToken", None, "flyToken"),
]


@pytest.fixture
def stack(empty: Local) -> Iterator[Local]:
    """The empty stack; a test's settings are put back afterwards."""
    file = empty.folder / "Pulumi.local.yaml"
    before = file.read_text()
    yield empty
    file.write_text(before)


def refused(stack: Local, *command: str) -> str:
    """What a person reads when the command fails as it should: one error, no traceback."""
    done = stack.pulumi(*command, check=False)
    assert done.code != 0, done.out
    assert "Traceback" not in done.out
    assert "unhandled" not in done.out
    return done.out


@pytest.mark.parametrize(("key", "value", "message"), BAD, ids=[f"{key}-{message[:20]}" for key, _, message in BAD])
def test_a_bad_setting_is_one_message(stack: Local, key: str, value: object, message: str) -> None:
    stack.configure(key, value)
    assert message in refused(stack, "preview")


UP = ("up", "--yes", "--skip-preview")


def test_another_organisations_app_name_is_refused(stack: Local) -> None:
    stack.configure("app", "llm-gateway")  # the embedded Fly gives it to somebody else
    out = refused(stack, *UP)
    assert "llm-gateway" in out
    assert "organization" in out


def test_a_wrong_token_is_named(stack: Local) -> None:
    stack.pulumi("config", "set", "--secret", "flyToken", "wrong-token-of-a-test")
    out = refused(stack, *UP)
    assert "flyToken" in out
    assert "wrong-token-of-a-test" not in out


def test_fly_being_down_is_named(stack: Local) -> None:
    stack.configure("flyApiUrl", "http://127.0.0.1:9")
    out = refused(stack, *UP)
    assert "http://127.0.0.1:9" in out
    assert "flyApiUrl" in out


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


def test_html_instead_of_fly_is_named(stack: Local) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Html) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.configure("flyApiUrl", f"http://127.0.0.1:{server.server_port}")
        out = refused(stack, *UP)
        server.shutdown()
    assert "HTML" in out
    assert "flyApiUrl" in out
