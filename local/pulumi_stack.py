"""The local stack as Pulumi sees it: its environment, its configuration, its operations."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from local.background import closed_environment
from local.state import ROOT, LocalError, State, write_private
from toolchain import pulumi as pulumi_toolchain

PROJECT = "hotdash-llm-gateway"
STACK = "local"
QUERY_TIMEOUT_S = 60  # reading outputs or setting a value takes half a second


@dataclass(frozen=True)
class PulumiStack:
    """The stack `local` of this project in a backend, home and configuration file of its own."""

    state: State

    @cached_property
    def toolchain(self) -> pulumi_toolchain.Toolchain:
        return pulumi_toolchain.ensure()

    @property
    def variables(self) -> dict[str, str]:
        """What points any `pulumi` command at this stack."""
        return {
            "PULUMI_HOME": str(self.state.pulumi_home),
            # The backend would write headers beside each file, and not at once: an engine killed there leaves an
            # empty file, and every command says "failed to load checkpoint: EOF".
            "PULUMI_BACKEND_URL": f"file://{self.state.backend}?metadata=skip",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self.state.passphrase),
            "PULUMI_STACK": STACK,
            "PULUMI_OPTION_CONFIG_FILE": str(self.state.stack_file),
            # Without it a refresh asks Fly with the token and the address that the last `up` recorded.
            "PULUMI_RUN_PROGRAM": "true",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true",
        }

    @property
    def path(self) -> str:
        entries = [*map(str, self.toolchain.path_entries), str(ROOT / ".venv/bin")]
        return os.pathsep.join(entries)

    def prepare(self, configuration: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        """Makes the stack and its configuration what they should be; quick when they are."""
        self.toolchain.place_plugins(self.state.pulumi_home)
        if not self.state.stack_file.exists():
            self._init()
        self._configure(configuration)
        self._configure_secrets(secrets)

    def run(self, *arguments: str) -> int:
        """Runs a pulumi command in the foreground, its output on this terminal; its exit code."""
        process = subprocess.Popen([self.toolchain.pulumi, *arguments], cwd=ROOT, env=self._environment)
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                # The terminal sent it to pulumi as well: it finishes what is under way, and so do we.
                continue

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs with secrets in clear; empty before the first `up`."""
        if not self.state.stack_file.exists():
            return {}
        outputs: dict[str, Any] = json.loads(self._query("stack", "output", "--json", "--show-secrets"))
        return outputs

    def configuration(self) -> dict[str, Any]:
        """The project's keys in the stack's file; empty before the first `up`. Raises LocalError: no valid YAML."""
        known = self._document().get("config") or {}
        prefix = f"{PROJECT}:"
        return {str(key).removeprefix(prefix): value for key, value in known.items() if str(key).startswith(prefix)}

    def _document(self) -> dict[str, Any]:
        file = self.state.stack_file
        try:
            document = yaml.safe_load(file.read_text()) if file.exists() else {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise LocalError(f"{file} is no valid YAML; mend it: {error}") from None
        if not isinstance(document or {}, dict) or not isinstance((document or {}).get("config") or {}, dict):
            raise LocalError(f"{file}: a mapping with a mapping `config` is needed; mend it")
        return document or {}

    def _init(self) -> None:
        # `stack init` writes its file beside Pulumi.yaml: in a folder of its own, so that stacks of one checkout
        # do not write each other's.
        folder = self.state.folder / "init"
        folder.mkdir(exist_ok=True)
        shutil.copy(ROOT / "Pulumi.yaml", folder)
        exists = STACK in [stack["name"] for stack in json.loads(self._query("stack", "ls", "--json"))]
        if not exists:
            self._query("stack", "init", STACK, "--secrets-provider", "passphrase", "--cwd", str(folder))
        made = folder / f"Pulumi.{STACK}.yaml"
        write_private(self.state.stack_file, made.read_text() if made.exists() else "")
        shutil.rmtree(folder)

    def _configure(self, configuration: Mapping[str, Any]) -> None:
        document = self._document()
        known = document.get("config") or {}
        wanted = known | {f"{PROJECT}:{key}": value for key, value in configuration.items()}
        if wanted != known:
            write_private(self.state.stack_file, yaml.safe_dump(document | {"config": wanted}))

    def _configure_secrets(self, secrets: Mapping[str, str]) -> None:
        # Encrypting costs half a second each; a salted digest tells whether a value is the one already there.
        digests = self.state.folder / "secrets.json"
        known = _known(digests)
        salt = self.state.passphrase.read_bytes()
        for key, value in secrets.items():
            digest = hashlib.sha256(salt + value.encode()).hexdigest()
            if known.get(key) != digest:
                self._query("config", "set", "--secret", key, stdin=value)
                known[key] = digest
        write_private(digests, json.dumps(known))

    @property
    def _environment(self) -> dict[str, str]:
        environment = closed_environment(**self.variables)
        return environment | {"PATH": f"{self.path}{os.pathsep}{environment['PATH']}"}

    def _query(self, *arguments: str, stdin: str | None = None) -> str:
        command: Sequence[str] = [str(self.toolchain.pulumi), *arguments, "--non-interactive"]
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=self._environment,
                input=stdin or "",
                capture_output=True,
                text=True,
                timeout=QUERY_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise LocalError(f"`pulumi {arguments[0]}` gave no answer within {QUERY_TIMEOUT_S} s") from None
        if done.returncode:
            raise LocalError(f"`pulumi {' '.join(arguments[:2])}` failed: {done.stderr.strip()}")
        return done.stdout


def _known(digests: Path) -> dict[str, str]:
    """Nothing where the file is missing or broken: then every value is encrypted again."""
    try:
        known = json.loads(digests.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
