"""What LiteLLM asks us during a request. Beside entry.py the only module that imports LiteLLM.

LiteLLM finds this file beside its configuration and executes it anew for every name in it that the configuration
refers to, past `sys.modules`. So this module holds no state: it may exist more than once in a process.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from litellm.proxy import proxy_server
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth

from gateway.authentication import NO_KEY, OWNER
from gateway.errors import Scope
from gateway.keys import Owner


class Request(Protocol):
    """The part of FastAPI's request that is used here."""

    scope: Scope


async def authenticate(request: Request, api_key: str | None) -> UserAPIKeyAuth:
    """LiteLLM's `custom_auth`: tells it the team that authentication.py has found.

    `api_key` is always empty: clients' keys do not come this far. Limits belong to the team, not to the key, so
    that two keys during a rotation share them; the digest says which key was used.
    """
    owner: Owner | None = request.scope.get(OWNER)
    if owner is None:  # only if LiteLLM's application is mounted without the layers in front of it
        raise ProxyException(NO_KEY, "invalid_request_error", None, 401)
    team = owner.team
    return UserAPIKeyAuth(
        api_key=owner.digest,
        token=owner.digest,
        key_alias=team.name,
        team_id=team.name,
        team_alias=team.name,
        user_id=team.name,
        user_role=LitellmUserRoles.INTERNAL_USER,
        models=sorted(team.models),
        team_rpm_limit=team.requests_per_minute,
        team_tpm_limit=team.tokens_per_minute,
        metadata={"tags": [f"team:{team.name}"]},
    )


def start_problems(models: Collection[str]) -> list[str]:
    """What LiteLLM left out while it started: it logs such things, if at all, and serves on."""
    problems = []
    if proxy_server.user_custom_auth is None:
        problems.append("LiteLLM did not take over general_settings.custom_auth.")
    if proxy_server.prisma_client is not None:
        problems.append("LiteLLM has a database client although no database was named to it.")
    router = proxy_server.llm_router
    missing = sorted(set(models) - set(router.model_names if router is not None else ()))
    if missing:
        problems.append(f"Models of teams are missing in LiteLLM's model_list: {', '.join(missing)}.")
    return problems
