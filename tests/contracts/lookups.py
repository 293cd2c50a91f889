"""What Fly's own command-line client asks over GraphQL when it lists and shows: the fields it decodes, as facts.

From its source: gql/genqclient.graphql and the resource_*.go files of its library.
"""

from __future__ import annotations

from typing import Any

_APP_ORGANIZATION = "organization { id internalNumericId slug paidPlan }"
_PROVIDER = (
    "id name displayName tosUrl asyncProvisioning autoProvision selectName selectRegion selectReplicaRegions "
    "detectPlatform resourceName nameSuffix beta tosAgreement internal provisioningInstructions "
    "excludedRegions { code }"
)
_APP_DATA = (
    "id name deployed platformVersion cnameTarget secrets { name } organization "
    "{ id slug rawSlug paidPlan addOnSsoLink provisionsBetaExtensions name billable billingStatus }"
)
_ADD_ON_ROW = "id name addOnPlan { displayName description } privateIp primaryRegion readRegions options metadata"


def lookups(app: str, organization: str, organization_id: str, database: str) -> dict[str, dict[str, Any]]:
    """Command → body of its request."""

    def ask(query: str, **variables: Any) -> dict[str, Any]:
        return {"query": query, "variables": variables}

    redis = {"addOnType": "upstash_redis"}
    return {
        "orgs list": ask(
            "query ($admin: Boolean!) { organizations(admin: $admin) { nodes "
            "{ id slug rawSlug name type paidPlan billable viewerRole internalNumericId } } }",
            admin=False,
        ),
        "apps list": ask(
            'query ($org: ID, $role: String, $after: String) { apps(type: "container", first: 200, after: $after, '
            "organizationId: $org, role: $role) { pageInfo { hasNextPage endCursor } nodes { id name deployed hostname "
            "platformVersion organization { slug name } currentRelease { createdAt status } status } } }",
            org=organization_id,
        ),
        "status": ask(
            "query ($appName: String!) { appcompact: app(name: $appName) { id internalNumericId name hostname "
            f"cnameTarget deployed network status appUrl platformVersion {_APP_ORGANIZATION} "
            "postgresAppRole: role { name } } }",
            appName=app,
        ),
        "volumes list": ask(
            "query ($appName: String!) { appbasic: app(name: $appName) { id name platformVersion "
            "organization { id internalNumericId slug rawSlug paidPlan } } }",
            appName=app,
        ),
        "apps show": ask(
            "query ($appName: String!) { app(name: $appName) { id internalNumericId name hostname deployed status "
            "version appUrl platformVersion currentRelease { evaluationId status inProgress version } "
            "config { definition } organization { id slug paidPlan } "
            "services { description protocol internalPort ports { port handlers } } "
            "ipAddresses { nodes { id address type createdAt } } sharedIpAddress cnameTarget "
            "imageDetails { registry repository tag digest version } machines { nodes { id name config state region "
            "createdAt app { name } ips { nodes { family kind ip maskSize } } host { id } } } "
            "postgresAppRole: role { name } } }",
            appName=app,
        ),
        "ips list": ask(
            "query ($appName: String!) { app(name: $appName) { ipAddresses { nodes { id address type region createdAt "
            "network { name organization { slug } } serviceName } } sharedIpAddress } }",
            appName=app,
        ),
        "ips list, egress": ask(
            "query ($appName: String!) { app(name: $appName) { egressIpAddresses { nodes "
            "{ id ip version region updatedAt } } } }",
            appName=app,
        ),
        "platform regions": ask(
            "query { platform { requestRegion regions { name code latitude longitude gatewayAvailable "
            "requiresPaidPlan deprecated } } }"
        ),
        "redis plans": ask(
            "query ListAddOnPlans($addOnType: AddOnType!) { addOnPlans(type: $addOnType) { nodes "
            "{ id description displayName maxDataSize pricePerMonth } } }",
            **redis,
        ),
        "redis create, before": ask(
            f"query GetAddOnProvider($name: String!) {{ addOnProvider(name: $name) {{ ...P }} }} "
            f"fragment P on AddOnProvider {{ {_PROVIDER} }}",
            name="upstash_redis",
        ),
        "redis list": ask(
            f"query ListAddOns($addOnType: AddOnType) {{ addOns(type: $addOnType) {{ nodes "
            f"{{ {_ADD_ON_ROW} organization {{ id slug }} }} }} }}",
            **redis,
        ),
        "redis list -o": ask(
            "query ListOrganizationAddOns($orgSlug: String!, $addOnType: AddOnType) { organization(slug: $orgSlug) "
            f"{{ addOns(type: $addOnType) {{ nodes {{ {_ADD_ON_ROW} }} }} }} }}",
            orgSlug=organization,
            **redis,
        ),
        "redis status": ask(
            "query GetAddOn($name: String, $provider: String) { addOn(name: $name, provider: $provider) { ...A "
            "publicUrl privateIp password status primaryRegion readRegions options metadata ssoLink "
            f"organization {{ slug paidPlan }} addOnProvider {{ {_PROVIDER} }} app {{ {_APP_DATA} }} "
            "addOnPlan { id name displayName description } } } "
            "fragment A on AddOn { id name primaryRegion status errorMessage metadata options }",
            name=database,
            provider="upstash_redis",
        ),
    }
