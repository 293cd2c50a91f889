"""How the world reaches the app: addresses, certificates, and the DNS records a person has to create."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi import Input, Output, ResourceOptions

from components.fly.address import Address
from components.fly.certificate import Certificate


class Hostnames(pulumi.ComponentResource):
    """Public addresses of the app and one certificate per hostname.

    Certificates stay pending until the records exist; nothing here waits for them.
    """

    certificates: Sequence[Certificate]
    dns_records: Output[list[dict[str, str]]]
    """Records to create: name, type, value, reason."""

    def __init__(
        self,
        name: str,
        *,
        app: Input[str],
        fly_hostname: Input[str],
        hostnames: Sequence[str],
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("gateway:public:Hostnames", name, None, opts)
        child = ResourceOptions(parent=self)
        addresses = [Address(kind, app=app, kind=kind, opts=child) for kind in ("v6", "shared_v4")]
        # Fly derives what a hostname needs from the app's addresses.
        after = ResourceOptions(parent=self, depends_on=addresses)
        self.certificates = [Certificate(hostname, app=app, hostname=hostname, opts=after) for hostname in hostnames]
        self.dns_records = Output.all(
            *(_records(certificate, fly_hostname) for certificate in self.certificates)
        ).apply(lambda records: [record for of_one in records for record in of_one])
        self.register_outputs({})


def _records(certificate: Certificate, fly_hostname: Input[str]) -> Output[list[dict[str, str]]]:
    return Output.all(
        hostname=certificate.hostname, target=fly_hostname, requirements=certificate.dns_requirements
    ).apply(
        lambda known: [
            {
                "name": known["hostname"],
                "type": "CNAME",
                "value": known["target"],
                "reason": "sends clients to the app, and proves to Fly.io that the name is yours",
            },
            {
                "name": known["requirements"]["acme_challenge"]["name"],
                "type": "CNAME",
                "value": known["requirements"]["acme_challenge"]["target"],
                "reason": "lets the certificate be issued before traffic moves, and renewed behind a CDN",
            },
        ]
    )
