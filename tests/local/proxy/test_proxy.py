"""Fly Proxy as clients and machines see it."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from tests.local.proxy.conftest import DEADLINE_S, HOSTNAME, Handler, Stage

pytestmark = pytest.mark.timeout(DEADLINE_S * 2)


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    """Answers with what arrived."""
    return web.json_response(
        {
            "method": request.method,
            "path": request.raw_path,
            "headers": [[name.lower(), value] for name, value in request.headers.items()],
            "body": (await request.read()).decode(),
        }
    )


def named(name: str) -> Handler:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=name)

    return answer


async def test_a_request_arrives_as_sent(stage: Stage) -> None:
    await stage.machine(echo)
    path = "/v1/a%2Fb%20c/../d;x=1?q=%C3%A4&empty=&plus=a+b"
    url = URL(stage.url + path, encoded=True)
    async with stage.client.request("PATCH", url, data=b"text", headers={"X-Own": "1", "Cookie": "a=b"}) as answer:
        seen = await answer.json()
    assert (seen["method"], seen["path"], seen["body"]) == ("PATCH", path, "text")
    assert ["x-own", "1"] in seen["headers"]
    assert ["cookie", "a=b"] in seen["headers"]
    assert ["content-length", "4"] in seen["headers"]


async def test_fly_adds_its_headers_and_believes_no_client(stage: Stage) -> None:
    await stage.machine(echo)
    lies = {"Fly-Client-IP": "6.6.6.6", "X-Forwarded-Proto": "http", "X-Forwarded-For": "10.0.0.1", "Fly-Region": "x"}
    hop = {"Connection": "keep-alive, X-Hop", "X-Hop": "1", "TE": "trailers", "Proxy-Authorization": "x"}
    async with stage.client.get(stage.url, headers={**lies, **hop}) as answer:
        seen = dict((await answer.json())["headers"])
        request_id = answer.headers["Fly-Request-Id"]
    assert seen["host"] == HOSTNAME
    assert seen["fly-client-ip"] == "127.0.0.1"
    assert seen["x-forwarded-for"] == "10.0.0.1, 127.0.0.1"
    assert (seen["x-forwarded-proto"], seen["x-forwarded-port"]) == ("https", "443")
    assert seen["fly-region"] == "ord"
    assert seen["fly-request-id"] == request_id
    assert request_id.endswith("-ord")
    assert not {"x-hop", "te", "proxy-authorization"} & seen.keys()


async def test_an_answer_arrives_as_sent(stage: Stage) -> None:
    body = gzip.compress(b"text" * 100)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.Response(status=207, reason="Own Words", body=body)
        response.headers.update({"Content-Encoding": "gzip", "Server": "own/1", "Connection": "X-Hop", "X-Hop": "1"})
        response.headers.add("Set-Cookie", "a=1")
        response.headers.add("Set-Cookie", "b=2")
        return response

    await stage.machine(answer)
    async with stage.client.get(stage.url) as seen:
        assert (seen.status, seen.reason, await seen.read()) == (207, "Own Words", body)
        assert seen.headers.getall("Set-Cookie") == ["a=1", "b=2"]
        assert (seen.headers["Content-Encoding"], seen.headers["Server"]) == ("gzip", "own/1")
        assert "X-Hop" not in seen.headers


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body(stage: Stage, status: int) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status)

    await stage.machine(answer)
    for _ in range(2):  # the second shows that the connection is still in step
        async with stage.client.get(stage.url) as seen:
            assert (seen.status, await seen.read()) == (status, b"")


async def test_head(stage: Stage) -> None:
    await stage.machine(named("twelve bytes"))
    async with stage.client.head(stage.url) as seen:
        assert (seen.status, seen.headers["Content-Length"]) == (200, "12")


async def test_redirects_are_the_clients_business(stage: Stage) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "/next"})

    await stage.machine(answer)
    async with stage.client.get(stage.url, allow_redirects=False) as seen:
        assert (seen.status, seen.headers["Location"]) == (302, "/next")


async def test_chunks_pass_one_by_one(stage: Stage) -> None:
    """The machine sends the next event only when the client has confirmed the one before."""
    received: asyncio.Queue[bytes] = asyncio.Queue()

    async def events(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(5):
            await response.write(b"data: %d\n\n" % number)
            assert await received.get() == b"data: %d\n\n" % number
        return response

    await stage.machine(events)
    async with asyncio.timeout(DEADLINE_S), stage.client.get(stage.url) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        chunks = []
        async for chunk in answer.content.iter_any():
            chunks.append(chunk)
            received.put_nowait(chunk)
    assert chunks == [b"data: %d\n\n" % number for number in range(5)]


async def test_a_request_body_passes_chunk_by_chunk(stage: Stage) -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(request: web.BaseRequest) -> web.StreamResponse:
        async for chunk in request.content.iter_any():
            arrived.put_nowait(chunk)
        return web.Response(text=request.headers.get("Transfer-Encoding", ""))

    async def body() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"part %d" % number
            assert await arrived.get() == b"part %d" % number

    await stage.machine(take)
    async with asyncio.timeout(DEADLINE_S), stage.client.post(stage.url, data=body()) as answer:
        assert await answer.text() == "chunked"


async def test_large_bodies_pass_whole_both_ways(stage: Stage) -> None:
    size = 24 * 1024 * 1024
    body = b"0123456789abcdef" * (size // 16)

    async def mirror(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": request.headers["Content-Length"]})
        await response.prepare(request)
        async for chunk in request.content.iter_any():
            await response.write(chunk)
        return response

    await stage.machine(mirror)
    digest = hashlib.sha256()

    async def upload() -> AsyncIterator[bytes]:
        for start in range(0, size, 65536):
            yield body[start : start + 65536]

    headers = {"Content-Length": str(size)}
    async with asyncio.timeout(DEADLINE_S), stage.client.post(stage.url, data=upload(), headers=headers) as answer:
        assert answer.headers["Content-Length"] == str(size)
        async for chunk in answer.content.iter_any():
            digest.update(chunk)
    assert digest.digest() == hashlib.sha256(body).digest()


async def test_a_client_that_waits_for_100_continue_gets_it(stage: Stage) -> None:
    await stage.machine(echo)
    async with asyncio.timeout(DEADLINE_S), stage.client.post(stage.url, data=b"body", expect100=True) as answer:
        seen = await answer.json()
    assert seen["body"] == "body"
    assert "expect" not in dict(seen["headers"])


async def test_a_client_that_leaves_ends_the_request_at_the_machine(stage: Stage) -> None:
    left = asyncio.Event()

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            left.set()
            raise
        return response

    await stage.machine(endless)
    async with asyncio.timeout(DEADLINE_S):
        answer = await stage.client.get(stage.url)
        assert await answer.content.readany() == b"first"
        answer.close()
        await left.wait()


async def test_half_an_answer_does_not_look_whole(stage: Stage) -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await writer.drain()
        writer.close()

    await stage.serve_raw(stage.backend(), broken)
    async with stage.client.get(stage.url) as answer:
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def test_a_refused_connection_goes_to_another_machine(stage: Stage) -> None:
    stage.backend()
    await stage.machine(echo)
    for number in range(6):  # whichever machine is first in line
        async with stage.client.post(stage.url, data=b"%d" % number) as answer:
            assert (answer.status, (await answer.json())["body"]) == (200, str(number))


async def test_a_request_that_was_sent_is_not_repeated(stage: Stage) -> None:
    arrived: list[bytes] = []

    async def vanish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    for _ in range(2):
        await stage.serve_raw(stage.backend(), vanish)
    async with stage.client.post(stage.url, data=b"pay") as answer:
        assert answer.status == 502
        assert "broke off" in await answer.text()
        assert "Fly-Request-Id" in answer.headers
    assert len(arrived) == 1


async def test_a_machine_that_is_just_starting_is_waited_for(stage: Stage) -> None:
    stage.proxy._patience_s = DEADLINE_S
    backend = stage.backend()
    request = asyncio.create_task(stage.client.get(stage.url))
    await asyncio.sleep(0)
    await stage.serve(backend, named("ready"))
    async with asyncio.timeout(DEADLINE_S):
        assert await (await request).text() == "ready"


@pytest.mark.parametrize(
    ("host", "status", "text"),
    [
        ("unknown.example.com", 404, "no app has the hostname unknown.example.com"),
        ("idle.fly.dev", 502, "app idle has no service on port 443"),
        ("shop.fly.dev", 503, "app shop: no machine with a service on port 443 is healthy"),
        ("SHOP.fly.dev:443", 503, "app shop: no machine with a service on port 443 is healthy"),
    ],
)
async def test_refusals_say_why(stage: Stage, host: str, status: int, text: str) -> None:
    async with stage.client.get(stage.any_host_url, headers={"Host": host}) as answer:
        assert (answer.status, await answer.text()) == (status, f"Fly Proxy: {text}\n")


async def test_no_machine_takes_connections(stage: Stage) -> None:
    backend = stage.backend()
    async with stage.client.get(stage.url) as answer:
        text = await answer.text()
    assert answer.status == 502
    assert f"no machine takes connections: {backend.address}:{backend.internal_port}" in text


async def test_the_host_decides_on_the_common_port(stage: Stage) -> None:
    await stage.machine(echo)
    async with stage.client.get(stage.any_host_url, headers={"Host": "shop.fly.dev"}) as answer:
        assert ["host", "shop.fly.dev"] in (await answer.json())["headers"]


async def test_requests_of_one_connection_are_spread(stage: Stage) -> None:
    for name in ("a", "b", "c"):
        await stage.machine(named(name))
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector) as client:
        answers = [await (await client.get(stage.url)).text() for _ in range(30)]
    assert Counter(answers) == {"a": 10, "b": 10, "c": 10}


class Slow:
    """Machines that hold their requests until the test lets them go."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue[str] = asyncio.Queue()
        self.go = asyncio.Event()

    def named(self, name: str) -> Handler:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            self.taken.put_nowait(name)
            await self.go.wait()
            return web.Response(text=name)

        return answer

    async def take(self, count: int) -> Counter[str]:
        async with asyncio.timeout(DEADLINE_S):
            return Counter([await self.taken.get() for _ in range(count)])


async def get(stage: Stage) -> tuple[int, str]:
    async with stage.client.get(stage.url) as answer:
        return answer.status, await answer.text()


async def test_the_least_loaded_machine_is_preferred_and_soft_limits_count(stage: Stage) -> None:
    slow = Slow()
    for name, soft in (("small", 1), ("large", 5)):
        await stage.machine(slow.named(name), soft=soft)
    requests = [asyncio.create_task(get(stage)) for _ in range(6)]
    assert await slow.take(6) == {"small": 1, "large": 5}
    requests += [asyncio.create_task(get(stage)) for _ in range(2)]  # all above their soft limits: least loaded
    assert await slow.take(2) == {"small": 2}
    slow.go.set()
    assert {status for status, _ in await asyncio.gather(*requests)} == {200}


async def test_a_hard_limit_is_never_passed(stage: Stage) -> None:
    slow = Slow()
    await stage.machine(slow.named("a"), hard=2)
    requests = [asyncio.create_task(get(stage)) for _ in range(2)]
    await slow.take(2)
    assert await get(stage) == (503, "Fly Proxy: app shop: every machine is at its hard limit\n")
    stage.proxy._patience_s = DEADLINE_S
    waiting = asyncio.create_task(get(stage))
    slow.go.set()
    assert [status for status, _ in await asyncio.gather(*requests, waiting)] == [200, 200, 200]


async def test_a_request_on_which_nothing_moves_is_ended(stage: Stage) -> None:
    slow = Slow()
    backend = stage.backend(idle_timeout_s=0.1)
    await stage.serve(backend, slow.named("a"))
    status, text = await get(stage)
    assert (status, "nothing moved for 0.1 s" in text) == (502, True)


async def test_a_slow_stream_is_not_idle(stage: Stage) -> None:
    async def drip(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(8):
            await asyncio.sleep(0.05)
            await response.write(b".")
        return response

    backend = stage.backend(idle_timeout_s=0.2)
    await stage.serve(backend, drip)
    assert await get(stage) == (200, "........")


async def test_websockets(stage: Stage) -> None:
    async def shout(request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("v2",))
        await socket.prepare(request)
        await socket.send_json([request.headers["Host"], request.headers["Fly-Client-IP"], request.raw_path])
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                await socket.send_bytes(message.data[::-1])
            elif message.data == "bye":
                await socket.close(code=4001)
            else:
                await socket.send_str(message.data.upper())
        return socket

    await stage.machine(shout)
    async with (
        asyncio.timeout(DEADLINE_S),
        stage.client.ws_connect(stage.url + "/live?x=1", protocols=("v1", "v2")) as socket,
    ):
        assert socket.protocol == "v2"
        assert await socket.receive_json() == [HOSTNAME, "127.0.0.1", "/live?x=1"]
        await socket.send_str("hello")
        assert await socket.receive_str() == "HELLO"
        await socket.send_bytes(b"x" * 3_000_000 + b"y")
        assert await socket.receive_bytes() == b"y" + b"x" * 3_000_000
        await socket.send_str("bye")
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 4001


async def test_a_websocket_client_that_leaves_ends_the_one_to_the_machine(stage: Stage) -> None:
    left: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def wait(request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("ready")
        async for _ in socket:
            pass
        left.set_result(socket.close_code)
        return socket

    await stage.machine(wait)
    async with asyncio.timeout(DEADLINE_S):
        socket = await stage.client.ws_connect(stage.url)
        assert await socket.receive_str() == "ready"
        await socket.close(code=4002)
        assert await left == 4002


async def test_a_refused_websocket_keeps_its_status(stage: Stage) -> None:
    async def forbid(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=403)

    await stage.machine(forbid)
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await stage.client.ws_connect(stage.url)
    assert caught.value.status == 403


async def test_a_taken_port_is_an_error(stage: Stage) -> None:
    port = int(stage.url.rpartition(":")[2])
    with pytest.raises(OSError, match=f"'127.0.0.1', {port}"):
        await stage.proxy.listen(port, "other.example.com")


async def test_closing_frees_the_ports_and_cuts_what_runs(stage: Stage) -> None:
    slow = Slow()
    await stage.machine(slow.named("a"))
    request = asyncio.create_task(get(stage))
    await slow.take(1)
    await stage.proxy.close()
    with pytest.raises(aiohttp.ClientError):
        await request
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(stage)
