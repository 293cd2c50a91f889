"""Which headers cross Fly Proxy, and which it adds. Names after Fly's documents on request headers."""

from __future__ import annotations

from dataclasses import dataclass

from multidict import CIMultiDict, CIMultiDictProxy

# Headers of one connection, not of the message (RFC 9110 section 7.6.1); Expect is answered here.
HOP_BY_HOP = frozenset(
    {
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
VIA = "1.1 fly.io"


@dataclass(frozen=True)
class Arrival:
    """How a request reached the proxy: as if over TLS on the hostname's external port."""

    hostname: str
    client: str
    port: int
    region: str
    request_id: str


def end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """All headers that are for the other end, repeated ones included, in order."""
    named = {name.strip().lower() for value in headers.getall("Connection", ()) for name in value.split(",")}
    dropped = HOP_BY_HOP | named
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in dropped)


def to_machine(headers: CIMultiDictProxy[str], arrival: Arrival) -> CIMultiDict[str]:
    """Whatever a client says in the headers that are Fly's own is replaced."""
    passed = end_to_end(headers)
    passed["Host"] = arrival.hostname
    passed["Fly-Client-IP"] = arrival.client
    passed["Fly-Forwarded-Port"] = passed["X-Forwarded-Port"] = str(arrival.port)
    passed["Fly-Forwarded-Proto"] = passed["X-Forwarded-Proto"] = "https"
    passed["Fly-Forwarded-Ssl"] = passed["X-Forwarded-Ssl"] = "on"
    passed["Fly-Region"] = arrival.region
    passed["Fly-Request-Id"] = arrival.request_id
    passed["X-Forwarded-For"] = ", ".join([*headers.getall("X-Forwarded-For", ()), arrival.client])
    passed.add("Via", VIA)
    return passed


def to_client(headers: CIMultiDictProxy[str], request_id: str) -> CIMultiDict[str]:
    passed = end_to_end(headers)
    passed["Fly-Request-Id"] = request_id
    passed.add("Via", VIA)
    return passed
