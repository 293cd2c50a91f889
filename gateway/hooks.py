"""What LiteLLM asks us during a request. Beside entry.py the only module that imports LiteLLM.

LiteLLM finds this file beside its configuration and executes it anew for every name in it that the configuration
refers to, past `sys.modules`. So this module holds no state: it may exist more than once in a process.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import litellm
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy import proxy_server
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth

from gateway.authentication import NO_KEY, OWNER
from gateway.errors import Scope
from gateway.keys import Owner
from gateway.outcomes import Outcome, outcomes
from gateway.spend import MOST_INPUT, MOST_OUTPUT, NANO, Price, dearest


class Request(Protocol):
    """The part of FastAPI's request that is used here."""

    scope: Scope


async def authenticate(request: Request, api_key: str | None) -> UserAPIKeyAuth:
    """LiteLLM's `custom_auth`: tells it the team that authentication.py has found.

    `api_key` is always empty: clients' keys do not come this far; the digest says which of a team's keys was used.
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
        metadata={"tags": [f"team:{team.name}"]},
    )


class Reporter(CustomLogger):  # type: ignore[misc,unused-ignore] # LiteLLM carries no types where they are checked
    """LiteLLM's callback: tells metering.py what a request has cost."""

    async def async_log_success_event(
        self, kwargs: Mapping[str, Any], response_obj: object, start_time: object, end_time: object
    ) -> None:
        report = kwargs.get("standard_logging_object")
        if report is not None:
            outcomes.report(
                report["litellm_call_id"], Outcome(report["total_tokens"], round(NANO * report["response_cost"]))
            )


reporter = Reporter()


def prices() -> dict[str, Price]:
    """By model: the dearest of itself and what answers for it when it fails. A model LiteLLM knows no price of is free.

    Only after LiteLLM has started.
    """
    router = proxy_server.llm_router
    own = {entry["model_name"]: _price(entry["litellm_params"]["model"]) for entry in router.model_list}
    fallbacks = {model: names for rule in router.fallbacks for model, names in rule.items()}
    return {model: dearest([price, *(own[name] for name in fallbacks.get(model, ()))]) for model, price in own.items()}


def _price(model: str) -> Price:
    try:
        info = litellm.get_model_info(model)
    except Exception:  # LiteLLM raises a bare one for a model that it does not know
        return Price(0.0, 0.0)
    kinds = ("", "_priority")  # the client chooses the tier
    return Price(
        max(info.get(f"input_cost_per_token{kind}") or 0.0 for kind in kinds),
        max(info.get(f"output_cost_per_token{kind}") or 0.0 for kind in kinds),
        info.get("max_input_tokens") or MOST_INPUT,
        info.get("max_output_tokens") or MOST_OUTPUT,
    )


def start_problems(models: Collection[str]) -> list[str]:
    """What LiteLLM left out while it started: it logs such things, if at all, and serves on."""
    problems = []
    if proxy_server.user_custom_auth is None:
        problems.append("LiteLLM did not take over general_settings.custom_auth.")
    if proxy_server.prisma_client is not None:
        problems.append("LiteLLM has a database client although no database was named to it.")
    if not any(type(callback).__name__ == Reporter.__name__ for callback in litellm.callbacks):
        problems.append("LiteLLM did not take over litellm_settings.callbacks.")
    router = proxy_server.llm_router
    missing = sorted(set(models) - set(router.model_names if router is not None else ()))
    if missing:
        problems.append(f"Models of teams are missing in LiteLLM's model_list: {', '.join(missing)}.")
    return problems
