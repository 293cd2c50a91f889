"""The stack behaves as any Pulumi program: preview, up, refresh, outputs, targets, Ctrl-C, destroy."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.local import ROOT, Local

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("pulumi")]

APP = "/v1/apps/hotdash-llm-gateway"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A stack this module may take apart."""
    stack = Local(tmp_path_factory.mktemp("own"))
    try:
        stack.run("up")
        yield stack
    finally:
        stack.run("reset")


def test_a_preview_of_an_unchanged_stack_has_no_changes(own: Local) -> None:
    own.pulumi("preview", "--expect-no-changes")


def test_a_refresh_finds_no_drift(own: Local) -> None:
    own.pulumi("refresh", "--yes", "--expect-no-changes")


def test_outputs_are_there_and_keys_are_secret(own: Local) -> None:
    outputs = json.loads(own.pulumi("stack", "output", "--json").out)
    assert outputs["gateway_url"] == "https://gateway.hotdash.test"
    assert outputs["team_keys"] == outputs["master_key"] == outputs["redis_url"] == "[secret]"
    reasons = {(record["type"], record["name"]): record["reason"] for record in outputs["dns_records"]}
    assert {name for kind, name in reasons if kind == "CNAME"} == {
        "gateway.hotdash.test",
        "langfuse.hotdash.test",
        "_acme-challenge.gateway.hotdash.test",
        "_acme-challenge.langfuse.hotdash.test",
    }
    assert all(reasons.values())


def test_a_target_updates_nothing_else(own: Local) -> None:
    update_one_machine_only(own)


def test_ctrl_c_in_the_middle_of_an_up_is_clean_and_the_next_up_converges(own: Local) -> None:
    interrupt_an_up(own)


def update_one_machine_only(stack: Local) -> None:
    urns = [
        resource["urn"]
        for resource in json.loads(stack.pulumi("stack", "export").out)["deployment"]["resources"]
        if resource["urn"].endswith("::edge-1")
    ]
    assert len(urns) == 1
    stack.pulumi("up", "--yes", "--skip-preview", "--target", urns[0])
    stack.pulumi("preview", "--expect-no-changes")


def interrupt_an_up(stack: Local) -> None:
    """Ctrl-C while gateway-1 is being changed: a clean end, and the next `up` goes on."""
    groups = json.loads(stack.pulumi("config", "get", "groups").out)
    stack.configure("groups", groups | {"gateway": groups["gateway"] | {"memoryMb": 1024}})
    running = subprocess.Popen(
        ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive"],
        cwd=ROOT,
        env=stack.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert running.stdout is not None
    seen = []
    for line in running.stdout:
        seen.append(line)
        if "gateway-1" in line and "updating" in line:
            running.send_signal(signal.SIGINT)
            break
    out = "".join(seen) + running.communicate(timeout=120)[0]
    assert running.returncode != 0, out
    assert "Traceback" not in out
    stack.pulumi("up", "--yes", "--skip-preview")
    stack.pulumi("preview", "--expect-no-changes")
    machines = stack.fly("GET", f"{APP}/machines").json()
    assert {m["config"]["guest"]["memory_mb"] for m in machines if "gateway" in m["name"]} == {1024}


def test_down_leaves_no_process_and_no_port_and_up_goes_on(own: Local) -> None:
    key = own.status()["teams"]["prod_customer"]
    own.run("down")
    marker = str(own.folder)
    left = [
        p.info for p in psutil.process_iter(["pid", "cmdline"]) if any(marker in a for a in p.info["cmdline"] or ())
    ]
    assert not left
    settings = json.loads((own.folder / "settings.json").read_text())
    ports = {settings["api_port"], settings["proxy_port"], *settings["hostnames"].values()}
    listening = [c.laddr for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr]
    assert not [each for each in listening if each.port in ports or each.ip.startswith(f"127.{settings['network']}.")]
    own.run("up")
    assert own.chat(key).status_code == 200, "the same key is still valid"


def test_destroy_removes_every_object(own: Local) -> None:
    own.pulumi("destroy", "--yes", "--skip-preview")
    assert own.fly("GET", APP).status_code == 404
    databases = own.fly("POST", "/graphql", json={"query": "{ addOns(type: upstash_redis) { nodes { name } } }"}).json()
    assert databases["data"]["addOns"]["nodes"] == []
    assert own.status()["machines"] == []


def test_the_production_stack_comes_up_against_the_embedded_fly(own: Local, tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.prod.yaml"
    file.write_text((ROOT / "Pulumi.prod.yaml").read_text())
    prod = Local(own.folder)
    prod.environment["PULUMI_STACK"] = "prod"
    prod.environment["PULUMI_OPTION_CONFIG_FILE"] = str(file)
    prod.pulumi("stack", "init", "prod", "--cwd", str(copy_of_the_project(tmp_path)))
    local = json.loads(own.pulumi("config", "--json", "--show-secrets").out)
    for key in ("flyToken", "openaiApiKey"):
        value = local[f"hotdash-llm-gateway:{key}"]["value"]
        subprocess.run(
            ["pulumi", "config", "set", "--secret", key],
            input=value,
            text=True,
            env=prod.environment,
            cwd=ROOT,
            check=True,
            timeout=60,
        )
    for key in ("organization", "flyApiUrl", "flyGraphqlUrl", "openaiBaseUrl"):
        prod.pulumi("config", "set", key, local[f"hotdash-llm-gateway:{key}"]["value"])

    preview = prod.pulumi("preview").out
    assert "have no digest" in preview, "a review warns"
    refused = prod.pulumi("up", "--yes", "--skip-preview", check=False)
    assert refused.code != 0
    assert "scripts/images resolve" in refused.out

    prod.pulumi("config", "set", "requirePinnedImages", "false")
    prod.pulumi("up", "--yes", "--skip-preview")
    prod.pulumi("preview", "--expect-no-changes")
    prod.pulumi("refresh", "--yes", "--expect-no-changes")
    update_one_machine_only(prod)
    interrupt_an_up(prod)
    assert len(prod.fly("GET", f"{APP}/machines").json()) == 4
    assert json.loads(prod.pulumi("stack", "output", "--json").out)["gateway_url"] == "https://gateway.hotdash.app"
    protected = prod.pulumi("destroy", "--yes", "--skip-preview", check=False)
    assert protected.code != 0
    assert "protect" in protected.out
    prod.pulumi("config", "set", "protect", "false")
    prod.pulumi("up", "--yes", "--skip-preview")
    prod.pulumi("destroy", "--yes", "--skip-preview")
    assert prod.fly("GET", APP).status_code == 404


def copy_of_the_project(folder: Path) -> Path:
    """`stack init` writes a stack file beside Pulumi.yaml: not beside ours."""
    copy = folder / "project"
    copy.mkdir()
    (copy / "Pulumi.yaml").write_text((ROOT / "Pulumi.yaml").read_text())
    return copy
