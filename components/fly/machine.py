"""A machine: one version of a configuration that Fly runs in one region.

Creating and updating succeed when Fly accepts them; whether the machine becomes healthy is `readiness.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pulumi import Input, Output, ResourceOptions
from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from components.fly import files
from components.fly.api import Api, at
from components.fly.errors import FlyError
from components.fly.lease import lease, when_free
from components.fly.machine_object import (
    GONE,
    HALTED,
    HASH,
    RUNS,
    STARTABLE,
    as_fly_launch_does,
    body,
    config_hash,
    fixed_traits,
    live_inputs,
    metadata_of,
    volumes,
)
from components.fly.normalise import Config, canonical
from components.fly.provider import (
    APP_NAME,
    APP_WANTED,
    REGION,
    REGION_WANTED,
    AdoptingProvider,
    Props,
    changed,
    known,
    matching,
)

PRECONDITION_FAILED = 412
AGREE_S = 60.0  # for the secrets version to arrive at the machine's host, or for a change that came in between
GONE_S = 60.0
POLL_S = 2.0


class MachineProvider(AdoptingProvider):
    """Keeps one machine. Its name, unique within the app, is what an interrupted run's machine is known by."""

    def check(self, olds: Props, news: Props) -> CheckResult:
        failures = [
            *matching(news, "app", APP_NAME, APP_WANTED),
            *matching(news, "name", APP_NAME, APP_WANTED),
            *matching(news, "region", REGION, REGION_WANTED),
            *_failures(news["config"]),
        ]
        if not failures:
            news["config"] = canonical(as_fly_launch_does(news))
        news["state"] = RUNS
        news[HASH] = config_hash(news)
        if id_ := olds.get("machine_id"):
            news["machine_id"] = id_  # as `read` found it: an update keeps it, and its preview then knows it
        return CheckResult(news, failures)

    def diff(self, _id: str, olds: Props, news: Props) -> DiffResult:
        keys = changed(olds, news)
        replaces = keys & {"app", "name", "region"}
        if known(news["config"]) and volumes(olds["config"]) != volumes(news["config"]):
            replaces |= {"config"}
        # The name is unique within the app, and a volume is mounted once: the old machine goes first.
        return DiffResult(bool(keys), sorted(replaces), delete_before_replace=True)

    def make(self, props: Props) -> CreateResult:
        app, name = props["app"], props["name"]
        machine = self._named(app, name)
        if machine is None:
            machine = self._create(props)
        else:
            _refuse_unlike(machine, props)
            if metadata_of(machine).get(HASH) != props[HASH] or machine["state"] in HALTED:
                machine = self._update(machine["id"], recorded={}, props=props)
        return CreateResult(machine["id"], _outputs(props, machine))

    def read(self, id_: str, props: Props) -> ReadResult:
        machine = find_machine(self.api, props["app"], id_)
        if machine is None:
            return ReadResult("", {})
        live = _outputs(props, machine) | {"name": machine["name"], "region": machine["region"]}
        if machine.get("config") and machine.get("host_status", "ok") == "ok":
            live |= live_inputs(props, machine)
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

    def remove(self, id_: str, props: Props) -> None:
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
        sent = {"name": name, "region": props["region"], **body(props, metadata={})}

        def create() -> Props:
            made: Props = self.api.send_once(
                at("apps", app, "machines"),
                to=f"create machine {name} of app {app}",
                body=sent,
                look=lambda: self._named(app, name),
            )
            return made

        return self._when_agreed(create)

    def _update(self, id_: str, *, recorded: Config, props: Props) -> Props:
        """Replaces the configuration; `recorded` is the one this resource gave the machine last."""
        app = props["app"]
        path = at("apps", app, "machines", id_)
        to = f"update machine {props['name']} ({id_}) of app {app}"
        ours = recorded.get("metadata", {})

        def update() -> Props:
            live = self._existing(app, id_, to)
            others = {key: value for key, value in metadata_of(live).items() if key not in ours}
            answer: Props = self.api.send_once(
                path,
                to=to,
                body={"current_version": live["instance_id"], **body(props, metadata=others)},
                headers=header,
                look=lambda: _newer_than(live, self.api.get(path, to=to)),
            )
            return answer

        with lease(self.api, app, id_) as header:
            return self._when_agreed(update)

    def _act(self, action: str, app: str, id_: str) -> None:
        path, to = at("apps", app, "machines", id_, action), f"{action} machine {id_} of app {app}"
        when_free(self.api, app, id_, lambda: self.api.send("POST", path, to=to))

    def _when_agreed(self, change: Callable[[], Props]) -> Props:
        """Repeats `change` while Fly says that a version it names is not there: it reads anew each time."""
        give_up_at = self.api.clock.now() + AGREE_S
        while True:
            try:
                return change()
            except FlyError as error:
                if error.status != PRECONDITION_FAILED or self.api.clock.now() > give_up_at:
                    raise
            self.api.clock.sleep(POLL_S)

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


def _refuse_unlike(machine: Props, props: Props) -> None:
    app, name, id_ = props["app"], props["name"], machine["id"]
    fixed = fixed_traits(machine["region"], machine.get("config") or {})
    wanted = fixed_traits(props["region"], props["config"])
    if fixed != wanted:
        raise FlyError(
            f"app {app} has a machine {name} ({id_}) {fixed}, not {wanted}, and that cannot change: destroy it with "
            f"`fly machine destroy {id_} --app {app}`, or give this one another name"
        )


def _newer_than(before: Props, now: Props | None) -> Props | None:
    """Under our lease a new version can only be ours."""
    return now if now and now["instance_id"] != before["instance_id"] else None


def _outputs(props: Props, machine: Props) -> Props:
    return {
        **props,
        "machine_id": machine["id"],
        "private_ip": machine.get("private_ip") or "",
        "version": machine["instance_id"],
    }


def _failures(config: Config) -> list[CheckFailure]:
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
    app's (`Secrets`), and `min_secrets_version` is the version the machine has to see. Without it the machine gets no
    secret at all.
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
