"""The ASGI application of a gateway machine: `uvicorn gateway.entry:app`.

From the outside in: closed routes, readiness, authentication, admission, metering, LiteLLM's own application. The
environment is put in order before LiteLLM is imported.
"""

from __future__ import annotations

import functools
import os

from gateway import environment
from gateway.admission import Admission
from gateway.authentication import Authentication
from gateway.errors import App
from gateway.limits import Limits
from gateway.metering import Metering
from gateway.outcomes import outcomes
from gateway.readiness import Readiness
from gateway.redis_store import RedisStore
from gateway.routes import ClosedRoutes


def build() -> App:
    """Raises SystemExit with sentences for the operator when something is missing."""
    try:
        key_ring = environment.prepare(os.environ)
    except environment.StartError as e:
        raise SystemExit(f"The gateway does not start. {e}") from None
    # Not before: both import LiteLLM, which reads the environment while it is imported.
    from litellm.proxy.proxy_server import app as litellm_app  # noqa: PLC0415

    from gateway import hooks  # noqa: PLC0415

    store = RedisStore(os.environ[environment.REDIS_URL])
    limits = Limits(store, environment.without_redis(os.environ))
    metering = Metering(litellm_app, limits, outcomes, functools.cache(hooks.prices))
    return ClosedRoutes(
        Readiness(
            Authentication(Admission(metering, environment.model_modes(os.environ)), key_ring),
            start_problems=lambda: hooks.start_problems(key_ring.models()),
        )
    )


app = build()
