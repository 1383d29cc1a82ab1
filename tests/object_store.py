"""An S3 server of its own (moto's), as a process on loopback that tells what it was asked and fails as told.

It takes orders as lines of JSON on its standard input and answers each with one on its standard output. So a test
stops it, starts it again with the same data, and counts requests, all without a clock.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KEY, SECRET = "AKIDEXAMPLEOFTHETEST", "wJalr/XUtnFEMI+K7MDENG.secret-of-the-test"
BUCKET = "scans"
ACCOUNT = "123456789012"


# ---- the test's side -----------------------------------------------------------------------------------------------


@dataclass
class Request:
    """One request: verb, key with its bucket, query, the range of bytes asked for, and what it is a copy of."""

    verb: str
    path: str
    query: str
    range: str
    copy_of: str

    @property
    def key(self) -> str:
        """Its key inside the bucket."""
        return self.path.removeprefix(f"/{BUCKET}/")


class Store:
    """The server as a test sees it."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process has to know of it."""
        return environment(self.endpoint)

    def order(self, **order: Any) -> Any:
        """Has it do something and waits until it is done."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def requests(self) -> list[Request]:
        """Requests since this was last asked."""
        return [Request(**each) for each in self.order(do="log")]

    def put(self, key: str, content: bytes) -> None:
        """Writes an object past polyscan, as another process would."""
        import boto3

        client = boto3.client("s3", endpoint_url=self.endpoint, aws_access_key_id=KEY, aws_secret_access_key=SECRET)
        client.put_object(Bucket=BUCKET, Key=key, Body=content)
        client.close()

    def upload(self, folder: Path, prefix: str) -> str:
        """Writes a folder's files below a prefix, and gives its address."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.put(f"{prefix}/{file.relative_to(folder).as_posix()}", file.read_bytes())
        return f"s3://{BUCKET}/{prefix}"


def environment(endpoint: str) -> dict[str, str]:
    """The store at that endpoint, with credentials of no worth."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


@contextmanager
def serving() -> Iterator[Store]:
    """A server with an empty bucket, while it is open."""
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        store = Store(process, json.loads(process.stdout.readline())["port"])
        try:
            store.order(do="bucket", name=BUCKET)
            yield store
        finally:
            assert process.stdin is not None
            process.stdin.close()  # which ends it
            process.wait(30)


# ---- the server's side ---------------------------------------------------------------------------------------------


@dataclass
class Fault:
    """What happens to requests whose `VERB /path` fits: `status` is answered, half is sent, or nobody listens."""

    match: str
    kind: str
    times: int = 1
    skip: int = 0
    status: int = 503
    code: str = "ServiceUnavailable"
    body: str = "<Error><Code>{code}</Code><Message>as told by the test</Message></Error>"
    seconds: float = 2.0


@dataclass
class Faulty:
    """moto's application behind a log and faults."""

    app: Callable[..., Iterable[bytes]]
    close: Callable[[float], None]
    log: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    faults: list[Fault] = field(default_factory=list[Fault])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        line = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        with self.lock:
            self.log.append(
                {
                    "verb": environ["REQUEST_METHOD"],
                    "path": environ["PATH_INFO"],
                    "query": environ.get("QUERY_STRING", ""),
                    "range": environ.get("HTTP_RANGE", ""),
                    "copy_of": environ.get("HTTP_X_AMZ_COPY_SOURCE", ""),
                }
            )
            fault = self._due(line)
        if fault is None:
            return self.app(environ, start)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if fault.kind == "half":
            return self._half(environ, start)
        if fault.kind == "gone":
            self.close(fault.seconds)
            raise ConnectionResetError("nobody listens any more")
        content = fault.body.format(code=fault.code).encode()
        start(f"{fault.status} As Told", [("Content-Type", "text/xml"), ("Content-Length", str(len(content)))])
        return [content]

    def _due(self, line: str) -> Fault | None:
        for fault in self.faults:
            if fault.times and re.search(fault.match, line):
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    def _half(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        content = b"".join(self.app(environ, start))
        return [content[: len(content) // 2]]


class Server:
    """Listens, stops listening, listens again on the same port; what it holds stays."""

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self.faulty = Faulty(DomainDispatcherApplication(create_backend_app), self.pause)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.listen()

    def listen(self) -> None:
        from moto.moto_server.werkzeug_app import MotoRequestHandler
        from werkzeug.serving import make_server

        class Handler(MotoRequestHandler):
            protocol_version = "HTTP/1.0"  # a connection for each request: none outlives a stop

            def log_request(self, *_: Any, **__: Any) -> None:
                """Says nothing."""

        self.server = make_server("127.0.0.1", self.port, self.faulty, threaded=True, request_handler=Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def refuse(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def pause(self, seconds: float) -> None:
        """Nobody listens for so long; decided by a request, so done from another thread."""

        def stop_and_go() -> None:
            self.refuse()
            threading.Timer(seconds, self.listen).start()

        threading.Thread(target=stop_and_go, daemon=True).start()

    def obey(self, order: dict[str, Any]) -> Any:
        from moto import settings
        from moto.core.authorization import ActionAuthenticatorMixin

        match order:
            case {"do": "bucket", "name": name}:
                from moto.s3.models import s3_backends

                s3_backends[ACCOUNT]["aws"].create_bucket(name, "us-east-1")
            case {"do": "fill", "prefix": prefix, "n": n}:
                from moto.s3.models import s3_backends

                for number in range(n):
                    s3_backends[ACCOUNT]["aws"].put_object(BUCKET, f"{prefix}/{number:04d}", b"x")
            case {"do": "log"}:
                with self.faulty.lock:
                    told, self.faulty.log[:] = list(self.faulty.log), []
                return told
            case {"do": "refuse"}:
                self.refuse()
            case {"do": "listen"}:
                self.listen()
            case {"do": "authorize", "only_known": only_known}:
                ActionAuthenticatorMixin.request_count = 0
                settings.INITIAL_NO_AUTH_ACTION_COUNT = 0.0 if only_known else float("inf")
            case {"do": "fail", **fault}:
                with self.faulty.lock:
                    self.faulty.faults.append(Fault(**fault))
            case {"do": "heal"}:
                with self.faulty.lock:
                    left = sum(fault.times for fault in self.faulty.faults)
                    self.faulty.faults.clear()
                return left
            case _:
                raise ValueError(order)
        return None


def tell(answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    server = Server()
    tell({"port": server.port})
    for line in sys.stdin:
        tell(server.obey(json.loads(line)))
    os._exit(0)


if __name__ == "__main__":
    main()
