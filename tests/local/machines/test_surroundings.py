"""What a machine sees: its environment, its root, its files, volumes and names, and nothing of the operator's."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import stat
import sys
from pathlib import Path

import psutil
import pytest

from local.machines.platform import ProcessPlatform
from tests.local.machines.conftest import DEADLINE_S, MakeSpec, Reports, file

FOREVER = "signal.pause()"
PLANTED = "sk-the-operators-own"


def contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


def existing(paths: list[str]) -> list[str]:
    return [path for path in paths if Path(path).exists()]


def names_in(folder: str) -> list[str]:
    return [path.name for path in Path(folder).iterdir()]


async def test_the_environment_is_closed(
    platform: ProcessPlatform, reports: Reports, spec: MakeSpec, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "FLY_API_TOKEN", "PYTHONPATH", "LD_LIBRARY_PATH", "EXTRA"):
        monkeypatch.setenv(name, PLANTED)
    machine = spec(
        python=f"tell(**os.environ); {FOREVER}",
        secrets={"TOKEN": "from a secret", "BOTH": "secret"},
        env={"MODE": "test", "BOTH": "env", "FLY_REGION": "lie"},
        metadata={"fly_process_group": "web"},
        guest={"memory_mb": 2048},
    )
    pid = await platform.start(machine)
    env = await reports.next()
    base = sys.base_prefix
    assert env == {
        "HOME": "/root",
        "PATH": f"{base}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONUNBUFFERED": "1",
        "REPORT_PORT": env["REPORT_PORT"],
        "MODE": "test",
        "TOKEN": "from a secret",
        "BOTH": "secret",
        "FLY_APP_NAME": "shop",
        "FLY_MACHINE_ID": machine.machine_id,
        "FLY_ALLOC_ID": machine.machine_id,
        "FLY_MACHINE_VERSION": machine.instance_id,
        "FLY_REGION": "ord",
        "FLY_PRIVATE_IP": machine.address,
        "FLY_IMAGE_REF": "embedded/python",
        "FLY_PROCESS_GROUP": "web",
        "FLY_VM_MEMORY_MB": "2048",
        **({"LC_CTYPE": "C.UTF-8"} if "LC_CTYPE" in env else {}),  # Python's own doing in an empty locale
    }
    main = psutil.Process(pid)
    shim = psutil.Process(json.loads((state / "machines" / machine.machine_id / "run.json").read_text())["shim"])
    for process in (shim, *shim.children(recursive=True)):
        assert PLANTED not in str(process.environ())
        assert "from a secret" not in " ".join(process.cmdline())
    assert "TOKEN" not in shim.environ()
    assert main in shim.children(recursive=True)


async def test_nothing_secret_is_on_disk(
    platform: ProcessPlatform, reports: Reports, spec: MakeSpec, state: Path
) -> None:
    content = "the secret of a file"
    machine = spec(
        python=f"tell(file=open('/etc/secret').read()); {FOREVER}",
        files=[{"guest_path": "/etc/secret", "secret_name": "FILE"}],
        secrets={"FILE": base64.b64encode(content.encode()).decode(), "TOKEN": "the secret of a variable"},
    )
    await platform.start(machine)
    assert await reports.next() == {"file": content}
    texts = contents(state)
    assert texts
    assert not [text for text in texts if b"the secret of" in text or machine.secrets["FILE"].encode() in text]


async def test_files_have_their_modes(platform: ProcessPlatform, reports: Reports, spec: MakeSpec) -> None:
    paths = ["/etc/app/config.yaml", "/etc/ssl/extra.pem", "/usr/local/bin/tool", "/deep/new/place"]
    machine = spec(
        python=f"tell(**{{p: [open(p).read(), os.stat(p).st_mode & 0o7777] for p in {paths}}}); {FOREVER}",
        files=[
            file(paths[0], "a: 1"),
            file(paths[1], "pem", mode=0o600),
            file(paths[2], "#!/bin/sh\n", mode=0o755),
            file(paths[3], ""),
        ],
    )
    await platform.start(machine)
    assert await reports.next() == {
        paths[0]: ["a: 1", 0o644],
        paths[1]: ["pem", 0o600],
        paths[2]: ["#!/bin/sh\n", 0o755],
        paths[3]: ["", 0o644],
    }
    assert existing(paths) == []  # the host is untouched


async def test_a_file_beside_the_hosts_own_leaves_those_in_sight(
    platform: ProcessPlatform, reports: Reports, spec: MakeSpec
) -> None:
    machine = spec(
        python=f"tell(share=sorted(os.listdir('/usr/share'))); {FOREVER}", files=[file("/usr/share/one-more", "")]
    )
    await platform.start(machine)
    seen = (await reports.next())["share"]
    assert seen == sorted([*names_in("/usr/share"), "one-more"])


async def test_the_host_is_out_of_sight_and_out_of_reach(
    platform: ProcessPlatform, reports: Reports, spec: MakeSpec, state: Path, tmp_path: Path
) -> None:
    (tmp_path / "operators.txt").write_text("mine")
    secret_places = [
        str(tmp_path),
        str(state),
        str(Path(__file__)),
        str(Path.home() / ".bashrc"),
        "/etc/shadow",
        "/boot",
    ]
    program = f"""
def attempt(action):
    try: action(); return "done"
    except OSError as error: return error.strerror
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def remount():
    if libc.mount(b"none", b"/usr", b"", 0x1000 | 0x20, b""): raise OSError(0, os.strerror(ctypes.get_errno()))
tell(
    seen=[path for path in {secret_places} if os.path.exists(path)],
    write_usr=attempt(lambda: open("/usr/bin/planted", "w")),
    write_interpreter=attempt(lambda: open(os.__file__, "a")) == "done",
    remount=attempt(remount),
    first=attempt(lambda: os.listdir("/proc/1/root/")),
    write_own=attempt(lambda: open("/var/tmp/x", "w")),
    processes=len([name for name in os.listdir("/proc") if name.isdigit()]),
    hostname=os.uname().nodename,
    tmp=os.listdir("/tmp"),
)
{FOREVER}
"""
    machine = spec(python=program)
    await platform.start(machine)
    assert await reports.next() == {
        "seen": [],
        "write_usr": "Read-only file system",
        "write_interpreter": False,
        "remount": "Operation not permitted",
        "first": "Permission denied",
        "write_own": "done",
        "processes": 2,
        "hostname": machine.machine_id,
        "tmp": [],
    }


async def test_no_open_file_of_the_operator_is_inherited(
    platform: ProcessPlatform, reports: Reports, spec: MakeSpec
) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    listing = "sorted(int(name) for name in os.listdir('/proc/self/fd'))"
    try:
        machine = spec(python=f"tell(files={listing}); {FOREVER}")
        await platform.start(machine)
        expected = [0, 1, 2, 3]  # the last one is the listing's own
        assert await reports.next() == {"files": expected}
        command = ["python3", "-c", f"import os; print({listing})"]
        inside = await platform.execute(machine.machine_id, command, "", DEADLINE_S)
        assert json.loads(inside.stdout) == expected
    finally:
        os.close(read)
        os.close(write)


async def test_two_colons_become_the_address(platform: ProcessPlatform, reports: Reports, spec: MakeSpec) -> None:
    machine = spec("python3", "/srv/args.py", "--host", "::", "[::]", env={"HOST": "::", "URL": "http://[::]"})
    program = file(
        "/srv/args.py",
        f"""
import json, os, signal, socket, sys
with socket.create_connection(("127.0.0.1", int(os.environ["REPORT_PORT"]))) as s:
    s.sendall(json.dumps([*sys.argv[1:], os.environ["HOST"], os.environ["URL"]]).encode())
{FOREVER}
""",
    )
    machine.config["files"].append(program)
    await platform.start(machine)
    assert list(await reports.next()) == ["--host", machine.address, "[::]", machine.address, "http://[::]"]


async def test_names_follow_while_the_machine_runs(platform: ProcessPlatform, reports: Reports, spec: MakeSpec) -> None:
    program = f"""
def look(*_):
    try: found = sorted({{item[4][0] for item in socket.getaddrinfo("api.process.shop.internal", 80)}})
    except socket.gaierror: found = []
    tell(api=found, own=socket.gethostbyname("fly-local-6pn"), host=socket.gethostbyname(socket.gethostname()))
signal.signal(signal.SIGUSR1, look)
look()
while True: {FOREVER}
"""
    machine = spec(python=program)
    await platform.start(machine)
    own = {"own": machine.address, "host": machine.address}
    assert await reports.next() == {"api": [], **own}
    for addresses in (["127.9.0.1", "127.9.0.2"], ["127.9.0.3"], []):
        platform.publish_names({"api.process.shop.internal": addresses})
        await platform.signal(machine.machine_id, "SIGUSR1")
        assert await reports.next() == {"api": addresses, **own}


async def test_a_volume_outlives_its_machine(
    platform: ProcessPlatform, reports: Reports, spec: MakeSpec, state: Path
) -> None:
    program = f"""
before = sorted(os.listdir("/data"))
open("/data/" + os.environ["FLY_MACHINE_ID"], "w").write("kept")
tell(before=before)
{FOREVER}
"""
    for before in ([], ["machine1"]):
        machine = spec(python=program, mounts=[{"volume": "vol_1", "path": "/data"}])
        await platform.start(machine)
        assert await reports.next() == {"before": before}
        await platform.forget(machine.machine_id)
    assert (state / "volumes" / "vol_1" / "machine2").read_text() == "kept"
    await platform.erase_volume("vol_1")
    await platform.erase_volume("vol_1")
    assert not (state / "volumes" / "vol_1").exists()


async def test_execute(platform: ProcessPlatform, reports: Reports, spec: MakeSpec) -> None:
    machine = spec(
        python=f"tell(ready=True); {FOREVER}", secrets={"TOKEN": "t0ken"}, files=[file("/srv/a.txt", "inside")]
    )
    await platform.start(machine)
    await reports.next()

    async def run(*command: str, stdin: str = "", timeout_s: float = DEADLINE_S) -> tuple[int, str, str]:
        result = await platform.execute(machine.machine_id, command, stdin, timeout_s)
        return result.exit_code, result.stdout, result.stderr

    assert await run("cat", "/srv/a.txt", "-", stdin=" and out") == (0, "inside and out", "")
    assert await run("sh", "-c", "echo $TOKEN $FLY_REGION; hostname >&2; exit 3") == (3, "t0ken ord\n", "machine1\n")
    assert await run("sh", "-c", "kill -9 $$") == (137, "", "")
    assert await run("no-such") == (127, "", "command no-such: No such file or directory\n")
    assert await run("sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x") == (0, "x" * 300000, "")
    with pytest.raises(TimeoutError):
        await run("sh", "-c", "sleep 1000 & sleep 1000", timeout_s=0.3)
    async with asyncio.timeout(DEADLINE_S):  # what was killed takes a moment to be gone
        # No event tells when a process inside a machine is gone.
        while len(left := [entry["command"] for entry in platform.processes(machine.machine_id)]) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert left == ["python3 /srv/main.py"]


async def test_processes(platform: ProcessPlatform, reports: Reports, spec: MakeSpec, port: int) -> None:
    program = f"server = socket.create_server((os.environ['FLY_PRIVATE_IP'], {port})); tell(ready=True); {FOREVER}"
    machine = spec(python=program)
    pid = await platform.start(machine)
    await reports.next()
    (entry,) = platform.processes(machine.machine_id)
    assert entry["pid"] == pid
    assert entry["command"] == "python3 /srv/main.py"
    assert entry["directory"] == "/"
    assert entry["rss"] > 1_000_000
    assert entry["listen_sockets"] == [{"proto": "tcp", "address": f"{machine.address}:{port}"}]


async def test_a_group_does_not_choose_where_the_log_lies(
    platform: ProcessPlatform, spec: MakeSpec, state: Path
) -> None:
    path = platform.log_path(spec("true", metadata={"fly_process_group": "../../../esc"}))
    assert path == state / "logs" / "shop" / "_________esc-machine1.log"


async def test_the_log_holds_output_with_times(platform: ProcessPlatform, spec: MakeSpec, state: Path) -> None:
    machine = spec("sh", "-c", "echo one; echo two >&2; printf three", metadata={"fly_process_group": "web"})
    await platform.start(machine)
    await platform.stop(machine.machine_id, "SIGTERM", DEADLINE_S)
    path = state / "logs" / "shop" / "web-machine1.log"
    assert path == platform.log_path(machine)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    times, words = zip(*(line.split(" ") for line in path.read_text().splitlines()), strict=True)
    assert words == ("one", "two", "three")
    assert all(time.startswith("20") and time.endswith("Z") for time in times)
