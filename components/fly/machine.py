"""A machine: one version of a configuration that Fly runs in one region.

Creating and updating succeed when Fly accepts them; whether the machine becomes healthy is `readiness.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from components.fly import files
from components.fly.api import Api, at
from components.fly.errors import FlyError
from components.fly.lease import lease, when_free
from components.fly.normalise import Config, canonical, fingerprint, observed, should_run
from components.fly.provider import (
    APP_NAME,
    APP_WANTED,
    REGION,
    REGION_WANTED,
    FlyProvider,
    Props,
    changed,
    known,
    matching,
    whole,
)

GONE = ("destroying", "destroyed")
HALTED = ("stopped", "stopping", "suspended", "suspending", "failed", "launch_failed")
STARTABLE = ("stopped", "suspended")
RUNS = "started"
CORDONED = "cordoned"  # runs, and Fly Proxy sends it nothing

HASH = "config_hash"  # also a key of the machine's metadata: tells an interrupted run's machine from an older one
PRECONDITION_FAILED = 412
AGREE_S = 60.0  # for the secrets version to arrive at the machine's host, or for a change that came in between
GONE_S = 60.0
POLL_S = 2.0


class MachineProvider(FlyProvider):
    """Keeps one machine. Its name, unique within the app, is what an interrupted run's machine is known by."""

    def check(self, olds: Props, news: Props) -> CheckResult:
        failures = [
            *matching(news, "app", APP_NAME, APP_WANTED),
            *matching(news, "name", APP_NAME, APP_WANTED),
            *matching(news, "region", REGION, REGION_WANTED),
            *_config_failures(news["config"]),
        ]
        if not failures:
            news["config"] = canonical(_as_fly_launch_does(news))
        news["state"] = RUNS
        news[HASH] = _hash(news)
        if id_ := olds.get("machine_id"):
            news["machine_id"] = id_  # as `read` found it: an update keeps it, and its preview then knows it
        return CheckResult(news, failures)

    def diff(self, _id: str, olds: Props, news: Props) -> DiffResult:
        keys = changed(olds, news)
        replaces = keys & {"app", "name", "region"}
        if known(news["config"]) and _volumes(olds["config"]) != _volumes(news["config"]):
            replaces |= {"config"}
        # The name is unique within the app, and a volume is mounted once: the old machine goes first.
        return DiffResult(bool(keys), sorted(replaces), delete_before_replace=True)

    def create(self, props: Props) -> CreateResult:
        app, name = props["app"], props["name"]
        machine = self._named(app, name)
        if machine is None:
            machine = self._create(props)
        elif (fixed := _fixed(machine["region"], machine["config"])) != (
            wanted := _fixed(props["region"], props["config"])
        ):
            raise FlyError(
                f"app {app} has a machine {name} ({machine['id']}) {fixed}, not {wanted}, and that cannot change: "
                f"destroy it with `fly machine destroy {machine['id']} --app {app}`, or give this one another name"
            )
        elif _metadata(machine).get(HASH) != props[HASH] or machine["state"] in HALTED:
            machine = self._update(machine["id"], recorded={}, props=props)
        return CreateResult(machine["id"], _outputs(props, machine))

    def read(self, id_: str, props: Props) -> ReadResult:
        machine = find_machine(self.api, props["app"], id_)
        if machine is None:
            return ReadResult("", {})
        live = _outputs(props, machine) | {"name": machine["name"], "region": machine["region"]}
        if machine.get("config") and machine.get("host_status", "ok") == "ok":
            live |= _live_inputs(props, machine)
        inputs = {key: live[key] for key in INPUTS if live.get(key) is not None}
        return ReadResult(id_, live, inputs)

    def update(self, id_: str, olds: Props, news: Props) -> UpdateResult:
        app, name = news["app"], news["name"]
        if changed(olds, news) <= {"state", "__provider"}:
            machine = self._existing(app, id_, f"repair machine {name} ({id_}) of app {app}")
            if machine["state"] in STARTABLE:
                self._act("start", app, id_)
            elif machine["state"] in HALTED:
                machine = self._update(id_, recorded=olds["config"], props=news)  # a failed version never starts again
        else:
            machine = self._update(id_, recorded=olds["config"], props=news)
        if machine.get("cordoned"):
            self._act("uncordon", app, id_)
        return UpdateResult(_outputs(news, machine))

    def delete(self, id_: str, props: Props) -> None:
        app = props["app"]
        to = f"destroy machine {props['name']} ({id_}) of app {app}"
        path = at("apps", app, "machines", id_)
        when_free(self.api, app, id_, lambda: self.api.delete(path, to=to, params={"force": "true"}))
        # Its name and its volume are free only when it is gone.
        give_up_at = self.api.clock.now() + GONE_S
        while (machine := self.api.get(path, to=to)) is not None and machine["state"] != "destroyed":
            if self.api.clock.now() > give_up_at:
                raise FlyError(f"cannot {to}: after {GONE_S:.0f} s it is still {machine['state']}. Run it again later.")
            self.api.clock.sleep(POLL_S)

    def _create(self, props: Props) -> Props:
        app, name = props["app"], props["name"]
        body = {"name": name, "region": props["region"], **_body(props, kept={})}

        def create() -> Props:
            made: Props = self.api.send_once(
                at("apps", app, "machines"),
                to=f"create machine {name} of app {app}",
                body=body,
                look=lambda: self._named(app, name),
            )
            return made

        return self._when_agreed(create)

    def _update(self, id_: str, *, recorded: Config, props: Props) -> Props:
        """Replaces the configuration; `recorded` is the one this resource gave the machine last."""
        app = props["app"]
        path = at("apps", app, "machines", id_)
        to = f"update machine {props['name']} ({id_}) of app {app}"

        def update() -> Props:
            live = self._existing(app, id_, to)
            answer: Props = self.api.send_once(
                path,
                to=to,
                body={"current_version": live["instance_id"], **_body(props, kept=_of_others(live, recorded))},
                headers=header,
                look=lambda: _newer_than(live, self.api.get(path, to=to)),
            )
            return answer

        with lease(self.api, app, id_) as header:
            return self._when_agreed(update)

    def _act(self, action: str, app: str, id_: str) -> None:
        path, to = at("apps", app, "machines", id_, action), f"{action} machine {id_} of app {app}"
        when_free(self.api, app, id_, lambda: self.api.send("POST", path, to=to))

    def _when_agreed(self, change: Any) -> Props:
        """Repeats `change` while Fly says that a version it names is not there: it reads anew each time."""
        give_up_at = self.api.clock.now() + AGREE_S
        while True:
            try:
                machine: Props = change()
            except FlyError as error:
                if error.status != PRECONDITION_FAILED or self.api.clock.now() > give_up_at:
                    raise
                self.api.clock.sleep(POLL_S)
            else:
                return machine

    def _existing(self, app: str, id_: str, to: str) -> Props:
        machine: Props | None = self.api.get(at("apps", app, "machines", id_), to=to)
        if machine is None or machine["state"] in GONE:
            raise FlyError(f"cannot {to}: it is gone. Run `pulumi up` again, which makes it anew.", status=404)
        return machine

    def _named(self, app: str, name: str) -> Props | None:
        machines = self.api.get(at("apps", app, "machines"), to=f"list machines of app {app}") or []
        return next((one for one in machines if one["name"] == name and one["state"] not in GONE), None)


INPUTS = ("app", "name", "region", "group", "config", "files", "min_secrets_version", "state", "machine_id", HASH)


def find_machine(api: Api, app: str, id_: str) -> Props | None:
    """Fly's machine object from a list that other resources of the app share; None when it is gone."""
    machines = api.get_shared(at("apps", app, "machines"), to=f"list machines of app {app}") or []
    return next((one for one in machines if one["id"] == id_ and one["state"] not in GONE), None)


def _as_fly_launch_does(news: Props) -> Config:
    """The configuration with what makes `fly status`, `fly logs` and `<group>.process.<app>.internal` work."""
    config: Config = news["config"]
    group, region = news["group"], news["region"]
    return {
        **config,
        "env": _with(config.get("env"), {"FLY_PROCESS_GROUP": group, "PRIMARY_REGION": region}),
        "metadata": _with(config.get("metadata"), {"fly_platform_version": "v2", "fly_process_group": group}),
    }


def _with(given: Any, more: dict[str, str]) -> Any:
    return {**(given or {}), **more} if given is None or isinstance(given, dict) else given  # not known yet


def _body(props: Props, *, kept: Config) -> dict[str, Any]:
    """What create and update send alike. `kept` are parts of the live configuration that are not ours."""
    ours = whole(props["config"])
    config = {
        **kept,
        **ours,
        "files": files.joined(props.get("files") or {}, ours.get("files") or []),
        "metadata": {**kept.get("metadata", {}), **ours["metadata"], HASH: props[HASH]},
    }
    version = props.get("min_secrets_version")
    return {"config": config, **({} if version is None else {"min_secrets_version": int(version)})}


def _of_others(live: Props, recorded: Config) -> Config:
    """Metadata that others (Fly's own client, a person) have put on the machine: an update would erase it."""
    ours = recorded.get("metadata", {})
    return {"metadata": {key: value for key, value in _metadata(live).items() if key not in ours}}


def _metadata(machine: Props) -> dict[str, str]:
    found: dict[str, str] = (machine.get("config") or {}).get("metadata") or {}
    return found


def _newer_than(before: Props, now: Props | None) -> Props | None:
    """Under our lease a new version can only be ours."""
    return now if now and now["instance_id"] != before["instance_id"] else None


def _live_inputs(props: Props, machine: Props) -> Props:
    wanted = whole(props["config"])
    live = canonical(machine["config"])
    texts, rest = files.split(
        live.pop("files", None) or [], keep={file["guest_path"] for file in wanted.get("files", [])}
    )
    seen = observed(wanted, {**live, "files": rest} if rest else live)
    inputs = {"config": seen, "files": texts, "state": _state(machine, live)}
    return {**inputs, HASH: _hash({**props, **inputs})}


def _state(machine: Props, config: Config) -> str:
    """`started` for all that is as it should be, or on the way there."""
    if machine["state"] in HALTED and should_run(config):
        return str(machine["state"])
    return CORDONED if machine.get("cordoned") else RUNS


def _hash(inputs: Props) -> Any:
    told = whole([inputs["config"], inputs.get("files") or {}, inputs.get("min_secrets_version")])
    return fingerprint(told) if known(told) else pulumi.UNKNOWN


def _outputs(props: Props, machine: Props) -> Props:
    return {
        **props,
        "machine_id": machine["id"],
        "private_ip": machine.get("private_ip") or "",
        "version": machine["instance_id"],
    }


def _fixed(region: str, config: Config) -> str:
    return f"in {region} with {' and '.join(f'volume {volume}' for volume in _volumes(config)) or 'no volume'}"


def _volumes(config: Config) -> list[str]:
    return [mount.get("volume") for mount in config.get("mounts") or []]


def _config_failures(config: Config) -> list[CheckFailure]:
    env = config.get("env") or {}
    return [
        *([] if config.get("image") else [CheckFailure("config", "the machine's configuration names no image")]),
        *(
            CheckFailure("config", f"env {name} is {value!r}; environment variables are text")
            for name, value in (env.items() if isinstance(env, dict) else ())
            if known(value) and not isinstance(value, str)
        ),
    ]


class Machine(Resource, module="fly", name="Machine"):
    """A machine of a process group.

    `config` is Fly's machine configuration; what it does not say is left to Fly. It holds no secrets: those are the
    app's (`Secrets`), and `min_secrets_version` is the version the machine has to see.
    """

    app: Output[str]
    name: Output[str]
    region: Output[str]
    machine_id: Output[str]
    private_ip: Output[str]
    """Its address on the organization's private network (IPv6)."""
    version: Output[str]
    """Fly's id of this version of the machine (`instance_id`)."""
    config_hash: Output[str]
    """Of configuration, files and secrets version: known in a preview, and a new one means a new version."""

    def __init__(
        self,
        resource_name: str,
        /,
        *,
        app: Input[str],
        name: str,
        region: str,
        group: str,
        config: Mapping[str, Any],
        min_secrets_version: Input[int] | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        texts, rest = files.split(config.get("files") or [])
        props = {
            "app": app,
            "name": name,
            "region": region,
            "group": group,
            "config": {
                **{key: value for key, value in config.items() if key != "files"},
                **({"files": rest} if rest else {}),
            },
            "files": texts,
            "min_secrets_version": min_secrets_version,
            "state": None,
            HASH: None,
            "machine_id": None,
            "private_ip": None,
            "version": None,
        }
        super().__init__(MachineProvider(), resource_name, props, opts)
