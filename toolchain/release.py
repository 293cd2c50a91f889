"""Pulumi's official release, where its host can be reached."""

from __future__ import annotations

import hashlib
import platform
import tarfile
import urllib.request
from pathlib import Path

from toolchain import cache
from toolchain.errors import ToolchainError
from toolchain.process import Progress

BASE_URL = "https://get.pulumi.com/releases/sdk"
REACH_TIMEOUT_S = 5.0
"""For the checksums, a few hundred bytes: where this takes longer, the host counts as out of reach."""
DOWNLOAD_TIMEOUT_S = 60.0
"""Without a byte, for the archive of some 100 MB."""
CHUNK = 1024 * 1024

_SYSTEMS = {"Linux": "linux", "Darwin": "darwin"}
_MACHINES = {"x86_64": "x64", "AMD64": "x64", "aarch64": "arm64", "arm64": "arm64"}


def file_name(version: str) -> str | None:
    """The archive for this machine; None where there is none."""
    system, machine = _SYSTEMS.get(platform.system()), _MACHINES.get(platform.machine())
    return f"pulumi-v{version}-{system}-{machine}.tar.gz" if system and machine else None


def checksum(version: str, base_url: str = BASE_URL) -> str | None:
    """The published SHA-256 of the archive; None when the host cannot be reached or has no such release."""
    name = file_name(version)
    try:
        with urllib.request.urlopen(  # noqa: S310 - https, or a test's server
            f"{base_url}/pulumi-{version}-checksums.txt", timeout=REACH_TIMEOUT_S
        ) as answer:
            lines = answer.read(CHUNK).decode(errors="replace").splitlines()
    except (OSError, ValueError):  # URLError and time-outs are OSErrors
        return None
    found = [words[0] for words in map(str.split, lines) if len(words) == 2 and words[1].lstrip("*") == name]
    return found[0].lower() if found else None


def present(version: str) -> Path | None:
    """The folder that holds `pulumi` and its bundled plugins, if it was downloaded before."""
    folder = cache.present(_entry(version))
    return folder / "pulumi" if folder else None


def ensure(version: str, sha256: str, base_url: str = BASE_URL) -> Path:
    """The same folder, downloaded if need be. Raises ToolchainError."""

    def make(folder: Path) -> None:
        _unpack(_download(f"{base_url}/{file_name(version)}", sha256, folder), folder)

    return cache.entry(_entry(version), make) / "pulumi"


def _entry(version: str) -> str:
    return f"pulumi-release-{version}-{platform.system()}-{platform.machine()}"


def _download(url: str, sha256: str, folder: Path) -> Path:
    archive = folder / "archive.tar.gz"
    digest = hashlib.sha256()
    progress = Progress(f"Downloading {url}")
    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_S) as answer, archive.open("wb") as file:  # noqa: S310
            while chunk := answer.read(CHUNK):
                digest.update(chunk)
                file.write(chunk)
                progress.show(f"{file.tell() // CHUNK} MB")
    except OSError as error:
        progress.done("failed")
        raise ToolchainError(f"{url} cannot be downloaded: {error}. Run this again.") from error
    if digest.hexdigest() != sha256:
        progress.done("refused")
        raise ToolchainError(
            f"{url} has the SHA-256 {digest.hexdigest()}, and {sha256} is published for it. It was not used. "
            "Run this again; if it stays so, install Pulumi by hand."
        )
    progress.done("done")
    return archive


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with tarfile.open(archive) as content:
            # Against names that lead elsewhere. Python before 3.11.4 has none; the checksum has been verified.
            content.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
            content.extractall(folder)  # noqa: S202 - see the line above
    except tarfile.TarError as error:
        raise ToolchainError(f"The release cannot be unpacked: {error}. Install Pulumi by hand.") from error
    archive.unlink()
    if not (folder / "pulumi" / "pulumi").is_file():
        raise ToolchainError("The release has no pulumi/pulumi inside. Install Pulumi by hand.")
