"""DNS as certificates see it: the records somebody published, and the names of apps, which Fly itself publishes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from local.fly.objects import DnsRecord

FLY_DEV = ".fly.dev"
# As many CNAMEs in a row as a careful resolver follows.
LONGEST_CHAIN = 8


def canonical(name: str) -> str:
    return name.rstrip(".").lower()


@dataclass
class Answer:
    """What one hostname resolves to; `cname` holds every name on the way."""

    a: list[str] = field(default_factory=list)
    aaaa: list[str] = field(default_factory=list)
    cname: list[str] = field(default_factory=list)


class Zone:
    """`apps` maps app names to their public addresses."""

    def __init__(self, records: Iterable[DnsRecord], apps: Mapping[str, list[str]]) -> None:
        self._records = list(records)
        self._apps = apps

    def values(self, name: str, kind: str) -> list[str]:
        wanted = canonical(name)
        return [r.value for r in self._records if canonical(r.name) == wanted and r.type.upper() == kind]

    def resolve(self, hostname: str) -> Answer:
        answer = Answer()
        name = canonical(hostname)
        for _ in range(LONGEST_CHAIN):
            if name.endswith(FLY_DEV):
                for address in self._apps.get(name.removesuffix(FLY_DEV), []):
                    (answer.aaaa if ":" in address else answer.a).append(address)
                return answer
            if not (targets := self.values(name, "CNAME")):
                answer.a += self.values(name, "A")
                answer.aaaa += self.values(name, "AAAA")
                return answer
            name = canonical(targets[0])
            answer.cname.append(name)
        return answer
