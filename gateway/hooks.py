"""What LiteLLM asks us during a request. The only module besides entry.py that imports LiteLLM.

LiteLLM takes these through plugin.py; see there why.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy import proxy_server
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth

from gateway import access, authentication, errors
from gateway.keys import Owner


class Request(Protocol):
    """The part of FastAPI's request that is used here."""

    scope: errors.Scope


class OpenAIError(ProxyException):  # type: ignore[misc] # LiteLLM is not installed where types are checked
    """A refusal in OpenAI's form. ProxyException alone would put the status in the place of the code."""

    def __init__(self, refusal: access.Refusal, param: str | None = None) -> None:
        super().__init__(refusal.message, "invalid_request_error", param, refusal.status)
        self._body = errors.body(refusal.message, code=refusal.code, param=param)

    def to_dict(self) -> dict[str, Any]:
        return self._body


async def authenticate(request: Request, api_key: str | None) -> UserAPIKeyAuth:
    """LiteLLM's `custom_auth`: tells it the team that authentication.py has found.

    `api_key` is always empty: clients' keys do not come this far. Limits belong to the team, not to the key, so
    that two keys during a rotation share them; the digest says which key was used.
    """
    owner: Owner | None = request.scope.get(authentication.OWNER)
    if owner is None:  # only if this app is mounted without its outer layers
        raise OpenAIError(access.Refusal(401, authentication.NO_KEY, "invalid_api_key"))
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


class ModelAccess(CustomLogger):  # type: ignore[misc] # as above
    """Refuses models a team may not use. LiteLLM does that only with checks that cost 1.5 ms per request."""

    async def async_pre_call_hook(
        self, user_api_key_dict: UserAPIKeyAuth, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        router = proxy_server.llm_router
        refused = access.refusal(
            data.get("model"),
            allowed=user_api_key_dict.models,
            known=router.model_names if router is not None else (),
            team=str(user_api_key_dict.team_id),
        )
        if refused is not None:
            raise OpenAIError(refused, param="model")
        return data


model_access = ModelAccess()
"""The hooks that the configuration lists are instances."""


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
