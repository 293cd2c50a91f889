"""The names that LiteLLM's configuration refers to: `gateway.plugin.authenticate`, …

LiteLLM executes the file behind such a name anew for every reference when it stands beside the configuration, without
`sys.modules`: two references would get two copies of everything in it. So this file only passes names on, and
what it imports exists once.
"""

from gateway.hooks import authenticate, model_access

__all__ = ["authenticate", "model_access"]
