"""The environment LiteLLM starts in: no database can be reached from it, nothing it needs is missing.

LiteLLM connects to and migrates any database that its environment names, and starts silently wrong when a
variable that its configuration refers to is missing. Both are settled here, before LiteLLM is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from gateway import keys, teams

CONFIG = "CONFIG_FILE_PATH"
DEFAULT_CONFIG = "litellm.yaml"
MASTER_KEY = "LITELLM_MASTER_KEY"
KEY_HASHES = "TEAM_KEY_HASHES"
REDIS_URL = "REDIS_URL"
WITHOUT_REDIS = "LIMITS_WITHOUT_REDIS"
WithoutRedis = Literal["open", "closed"]
"""What becomes of requests that cannot be counted; limits.py says more."""
TEAMS_FILE = "teams.json"  # beside the configuration

FIXED = {
    "LITELLM_MODE": "PRODUCTION",  # other modes load a .env file from beside the installed package
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # the others would ask a public host for tables at start
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_LOCAL_AUTOROUTER_PRESETS": "True",
    "LITELLM_LOCAL_POLICY_TEMPLATES": "True",
    "LITELLM_DONT_SHOW_FEEDBACK_BOX": "True",
    "NO_DOCS": "True",
    "NO_REDOC": "True",
    "NO_OPENAPI": "True",
    "DISABLE_ADMIN_UI": "True",
}
DEFAULTS = {
    WITHOUT_REDIS: "open",  # limits.py says why
    "LITELLM_LOG": "ERROR",  # DEBUG writes prompts to the log; INFO costs 3 ms per request
}
_OTHER_SOURCES = {
    "DIRECT_URL",
    "STORE_MODEL_IN_DB",
    "IAM_TOKEN_DB_AUTH",
    # Each of these would replace or extend the configuration file, or move every path.
    "WORKER_CONFIG",
    "LITELLM_CONFIG_BUCKET_NAME",
    "LITELLM_WORKER_STARTUP_HOOKS",
    "SERVER_ROOT_PATH",
}
_OURS = (MASTER_KEY, KEY_HASHES, REDIS_URL)
_REFERENCE = "os.environ/"


class StartError(Exception):
    """The gateway cannot start. The text is one sentence per problem, for the operator."""


def is_removed(name: str) -> bool:
    return name.startswith("DATABASE_") or "DATABASE_URL" in name or name in _OTHER_SOURCES


def references(document: Any) -> Iterator[str]:
    """The variables that a LiteLLM configuration refers to: every value `os.environ/NAME`, however deep."""
    if isinstance(document, dict):
        for value in document.values():
            yield from references(value)
    elif isinstance(document, list):
        for value in document:
            yield from references(value)
    elif isinstance(document, str) and document.startswith(_REFERENCE):
        yield document.removeprefix(_REFERENCE)


def model_modes(environ: Mapping[str, str]) -> dict[str, str]:
    """Every model of LiteLLM's configuration and what it answers: chat or embedding. After `prepare`."""
    config = yaml.safe_load(Path(environ.get(CONFIG) or DEFAULT_CONFIG).read_text())
    return {entry["model_name"]: entry["model_info"]["mode"] for entry in config["model_list"]}


def prepare(environ: MutableMapping[str, str]) -> keys.KeyRing:
    """Changes `environ` to what LiteLLM may see; returns the keys it names. Raises StartError with all problems."""
    for name in [name for name in environ if is_removed(name)]:
        del environ[name]
    environ.update(FIXED)
    for name, value in DEFAULTS.items():
        environ.setdefault(name, value)

    problems: list[str] = []
    path = Path(environ.get(CONFIG) or DEFAULT_CONFIG)
    config = _read(path, f"the configuration that {CONFIG} names", problems)
    try:
        referred_to = set(references(yaml.safe_load(config)))
    except yaml.YAMLError as e:
        problems.append(f"The file {path} is not YAML: {e}.")
        referred_to = set()
    for name in sorted({*_OURS, *referred_to}):
        if not environ.get(name):
            by = f", which {path} refers to," if name not in _OURS else ""
            problems.append(f"The environment variable {name}{by} is missing or empty.")
    if environ.get(REDIS_URL) and not environ[REDIS_URL].startswith(("redis://", "rediss://")):
        problems.append(f"The environment variable {REDIS_URL} must begin with redis:// or rediss://.")
    if environ[WITHOUT_REDIS] not in get_args(WithoutRedis):
        problems.append(f"The environment variable {WITHOUT_REDIS} must be open or closed.")
    teams_path = path.with_name(TEAMS_FILE)
    all_teams: dict[str, teams.Team] = {}
    key_ring = keys.KeyRing(())
    text = _read(teams_path, "the teams and their limits", problems)
    if text:
        try:
            all_teams = teams.parse(text)
            if environ.get(KEY_HASHES):
                key_ring = keys.parse(environ[KEY_HASHES], all_teams)
        except ValueError as e:
            where = f"The environment variable {KEY_HASHES}" if all_teams else f"The file {teams_path}"
            problems.append(f"{where} is wrong: {e}.")
    if problems:
        raise StartError(" ".join(problems))
    return key_ring


def without_redis(environ: Mapping[str, str]) -> WithoutRedis:
    """After `prepare`."""
    return "closed" if environ[WITHOUT_REDIS] == "closed" else "open"


def _read(path: Path, what: str, problems: list[str]) -> str:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "it is not text"
        problems.append(f"The file {path} ({what}) cannot be read: {reason}.")
        return ""
    if not text.strip():
        problems.append(f"The file {path} ({what}) is empty.")
    return text
