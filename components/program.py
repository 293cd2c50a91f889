"""Between Pulumi's configuration and the settings: the only reader of `pulumi.Config` in the program."""

from __future__ import annotations

import json
import os
import sys
from typing import NoReturn

import pulumi
from pulumi import Output

from components.settings import Settings, SettingsError, parse

MESSAGE_SHOWN = 32  # Pulumi's language host adds no error of its own to a program that ends with this


def load_settings() -> Settings:
    """The checked settings of this stack; ends the program with one message when they cannot be used."""
    try:
        settings = parse(_own_configuration())
    except SettingsError as error:
        _refuse(str(error))
    if settings.require_pinned_images and (unpinned := settings.images.unpinned):
        _refuse_unpinned(unpinned)
    return settings


def openai_api_key() -> Output[str]:
    return pulumi.Config().require_secret("openaiApiKey")


def _own_configuration() -> dict[str, str]:
    """Every value under the project's name, known to us or not: a misspelt key must not be passed over."""
    prefix = f"{pulumi.get_project()}:"
    everything: dict[str, str] = json.loads(os.environ.get("PULUMI_CONFIG", "{}"))
    return {key.removeprefix(prefix): value for key, value in everything.items() if key.startswith(prefix)}


def _refuse_unpinned(groups: list[str]) -> None:
    message = (
        f"images of {', '.join(groups)} have no digest, and requirePinnedImages is set: a tag can change between two "
        "runs. `scripts/images resolve` writes the digests into the stack's file"
    )
    # A review previews without reaching a registry; only the change itself needs the pin.
    if pulumi.runtime.is_dry_run():
        pulumi.log.warn(f"{message}. This preview goes on; `pulumi up` will refuse")
    else:
        _refuse(message)


def _refuse(message: str) -> NoReturn:
    pulumi.log.error(message)
    sys.exit(MESSAGE_SHOWN)
