"""The official release, from a server of the test's own: the real host is out of reach of a test."""

from __future__ import annotations

import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolchain import pulumi, release
from toolchain.errors import ToolchainError

VERSION = pulumi.locked("pulumi")
PROGRAM = f"#!/bin/sh\necho v{VERSION}\n".encode()


class Host:
    """What a release host serves: path → content."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked.append(self.path)
                content = host.files.get(self.path.lstrip("/"))
                self.send_response(200 if content is not None else 404)
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, format: str, *args: object) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def publish(self, archive: bytes, sha256: str | None = None) -> None:
        name = release.file_name(VERSION)
        assert name, "no release for this machine"
        sums = f"{'0' * 64}  other.tar.gz\n{sha256 or hashlib.sha256(archive).hexdigest()}  {name}\n"
        self.files = {name: archive, f"pulumi-{VERSION}-checksums.txt": sums.encode()}


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    thread = threading.Thread(target=host.server.serve_forever, args=(0.02,))
    thread.start()
    yield host
    host.server.shutdown()
    thread.join()
    host.server.server_close()


def archive(name: str = "pulumi/pulumi") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as content:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(PROGRAM), 0o755
        content.addfile(member, io.BytesIO(PROGRAM))
    return buffer.getvalue()


def test_a_release_is_downloaded_once_and_runs(host: Host, cache_root: Path) -> None:
    host.publish(archive())
    found = pulumi.released(host.url)
    assert found
    assert (found.source, found.version, pulumi.version_of(found.pulumi)) == ("release", VERSION, VERSION)
    assert found.pulumi.is_relative_to(cache_root)

    assert pulumi.released(host.url) == found
    assert sum(path.endswith(".tar.gz") for path in host.asked) == 1


def test_a_downloaded_release_is_found_again_without_a_network(
    host: Host, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.publish(archive())
    found = pulumi.released(host.url)
    monkeypatch.setenv("PATH", "")
    assert pulumi.present() == found


def test_an_archive_with_another_checksum_is_refused(host: Host, cache_root: Path) -> None:
    host.publish(archive(), sha256="f" * 64)
    with pytest.raises(ToolchainError, match=r"f{64} is published"):
        pulumi.released(host.url)
    assert [path.name for path in cache_root.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("name", ["../outside", "/outside"])
def test_an_archive_that_would_write_elsewhere_is_refused(host: Host, cache_root: Path, name: str) -> None:
    host.publish(archive(name))
    with pytest.raises(ToolchainError):
        pulumi.released(host.url)
    assert not list(cache_root.rglob("outside"))


def test_a_host_without_that_release_is_none(host: Host, cache_root: Path) -> None:
    assert pulumi.released(host.url) is None


def test_a_host_out_of_reach_is_none(host: Host, cache_root: Path) -> None:
    host.server.server_close()
    assert pulumi.released(host.url) is None


def test_a_download_that_breaks_off_says_so(host: Host, cache_root: Path) -> None:
    host.publish(archive())
    del host.files[str(release.file_name(VERSION))]
    with pytest.raises(ToolchainError, match="cannot be downloaded"):
        pulumi.released(host.url)
