"""`scripts/images resolve`: each image's tag → the digest its registry gives now, written into the stack's file."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console

ROOT = Path(__file__).parent.parent
REGISTRY_TIMEOUT_S = 15
PULUMI_TIMEOUT_S = 60
# One digest for all platforms (an index), and the single-platform forms that older images have.
MANIFEST_TYPES = ", ".join(
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
)

app = typer.Typer(help="Images of the stack's process groups.", add_completion=False, pretty_exceptions_enable=False)
say = Console(stderr=True, highlight=False)


class ImageError(Exception):
    """An image cannot be resolved: the text names it, the cause and the remedy."""


@dataclass(frozen=True)
class Image:
    """registry/repository:tag, as `docker pull` reads it."""

    registry: str
    repository: str
    tag: str

    @classmethod
    def parse(cls, reference: str) -> Image:
        """Reads a reference with or without a digest; without a registry it is Docker Hub's, as for `docker pull`."""
        name, _, tag = reference.split("@", maxsplit=1)[0].rpartition(":")
        first, _, rest = name.partition("/")
        if rest and ("." in first or ":" in first or first == "localhost"):
            return cls(first, rest, tag)
        return cls("registry-1.docker.io", name if rest else f"library/{name}", tag)

    @property
    def manifest_url(self) -> str:
        # A registry on this machine speaks plain http, as for `docker pull`.
        scheme = "http" if self.registry.split(":")[0] in ("localhost", "127.0.0.1") else "https"
        return f"{scheme}://{self.registry}/v2/{self.repository}/manifests/{self.tag}"


def digest_of(image: Image, client: httpx.Client) -> str:
    """The digest the registry serves for the tag now (OCI distribution: HEAD of the manifest)."""
    headers = {"accept": MANIFEST_TYPES}
    try:
        answer = client.head(image.manifest_url, headers=headers)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            headers["authorization"] = f"Bearer {_anonymous_token(answer, client)}"
            answer = client.head(image.manifest_url, headers=headers)
    except httpx.TransportError as error:
        raise ImageError(
            f"{image.registry} cannot be reached ({error}); run this where it can, or write the digest by hand"
        ) from None
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise ImageError(
            f"{image.registry} has no {image.repository}:{image.tag}; correct the stack's setting `images`"
        )
    digest: str = answer.headers.get("docker-content-digest", "")
    if not answer.is_success or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise ImageError(
            f"{image.registry} answered {answer.status_code} without a digest for {image.repository}:{image.tag}; "
            "try again, or write the digest by hand"
        )
    return digest


def _anonymous_token(refused: httpx.Response, client: httpx.Client) -> str:
    """Public images too want a token; the refusal says where to get one."""
    challenge = dict(re.findall(r'(\w+)="([^"]*)"', refused.headers.get("www-authenticate", "")))
    if "realm" not in challenge:
        raise ImageError(f"{refused.url.host} refuses without saying where to get a token; is the image private?")
    realm = challenge.pop("realm")
    answer = client.get(realm, params={key: challenge[key] for key in ("service", "scope") if key in challenge})
    if not answer.is_success:
        raise ImageError(f"{realm} gives no token ({answer.status_code}); is the image private?")
    document = answer.json()
    token: str = document.get("token") or document["access_token"]
    return token


@app.callback()
def _commands() -> None:
    """Images of the stack's process groups."""


@app.command()
def resolve(stack: Annotated[str, typer.Option(help="Pulumi stack, for example prod.")]) -> None:
    """Writes each image of the stack's setting `images` with the digest its registry gives now."""
    images: dict[str, str] = json.loads(pulumi("config", "get", "images", "--stack", stack))
    with httpx.Client(timeout=REGISTRY_TIMEOUT_S, follow_redirects=True) as client:
        pinned = {group: f"{ref.split('@')[0]}@{digest_of(Image.parse(ref), client)}" for group, ref in images.items()}
    for group, reference in pinned.items():
        if reference != images[group]:
            pulumi("config", "set", "--path", f"images.{group}", reference, "--stack", stack)
        say.print(f"{group:<8} {reference}{'' if reference != images[group] else '  (unchanged)'}", soft_wrap=True)


def pulumi(*arguments: str) -> str:
    done = subprocess.run(
        ["pulumi", *arguments, "--non-interactive"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PULUMI_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise ImageError(f"`pulumi {' '.join(arguments[:2])}` failed: {done.stderr.strip()}")
    return done.stdout


def main() -> None:
    try:
        app()
    except ImageError as error:
        say.print(f"[red]error:[/] {error}", soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
