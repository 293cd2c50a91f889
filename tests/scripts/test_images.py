"""Digests come from the registry: against a registry on loopback that behaves as the public ones do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from scripts.images import Image, ImageError, digest_of

DIGEST = f"sha256:{'ab' * 32}"


class Registry(BaseHTTPRequestHandler):
    """Wants an anonymous token, as Docker Hub and the others do; knows one image."""

    def do_GET(self) -> None:
        assert self.path.startswith("/token?service=here&scope=repository")
        self._answer(200, b'{"token": "anonymous"}')

    def do_HEAD(self) -> None:
        if self.headers.get("authorization") != "Bearer anonymous":
            realm = f"http://{self.headers['host']}/token"
            challenge = f'Bearer realm="{realm}",service="here",scope="repository:library/caddy:pull"'
            self._answer(401, headers={"www-authenticate": challenge})
        elif "image.index" not in self.headers["accept"]:
            self._answer(406)
        elif self.path == "/v2/library/caddy/manifests/2.11.2":
            self._answer(200, headers={"docker-content-digest": DIGEST})
        elif self.path == "/v2/library/broken/manifests/1":
            self._answer(200)
        else:
            self._answer(404)

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: nobody reads a test's registry log."""


@pytest.fixture
def registry() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def digest(reference: str) -> str:
    with httpx.Client(timeout=5, trust_env=False) as client:
        return digest_of(Image.parse(reference), client)


def test_the_digest_is_what_the_registry_serves(registry: str) -> None:
    assert digest(f"{registry}/library/caddy:2.11.2") == DIGEST


def test_an_image_that_is_not_there_names_the_setting(registry: str) -> None:
    with pytest.raises(ImageError, match=r"has no library/caddy:9; correct the stack's setting `images`"):
        digest(f"{registry}/library/caddy:9")


def test_an_answer_without_a_digest_is_refused(registry: str) -> None:
    with pytest.raises(ImageError, match="without a digest"):
        digest(f"{registry}/library/broken:1")


def test_a_registry_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(ImageError, match=r"127\.0\.0\.1:9 cannot be reached"):
        digest("127.0.0.1:9/library/caddy:1")


@pytest.mark.parametrize(
    ("reference", "image"),
    [
        ("caddy:2.11.2", Image("registry-1.docker.io", "library/caddy", "2.11.2")),
        ("langfuse/langfuse:3", Image("registry-1.docker.io", "langfuse/langfuse", "3")),
        ("ghcr.io/berriai/litellm:v1", Image("ghcr.io", "berriai/litellm", "v1")),
        (f"ghcr.io/berriai/litellm:v1@{DIGEST}", Image("ghcr.io", "berriai/litellm", "v1")),
        ("localhost:5000/a/b:c", Image("localhost:5000", "a/b", "c")),
    ],
)
def test_references_read_as_docker_reads_them(reference: str, image: Image) -> None:
    assert Image.parse(reference) == image
