"""As much of a Kubernetes API server as kubectl needs for services and deployments, and a controller that scales.

The kubectl that talks to it is the real one. What the server answers follows the API conventions: an object's
`resourceVersion` grows with each change, a JSON patch is applied as a whole or not at all, and one whose `test` fails
is answered as the real server does (422, "the server rejected our request due to an error in our request").
"""

from __future__ import annotations

import contextlib
import copy
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Object = dict[str, Any]

GROUPS: Final = {
    "/api/v1": [("services", "Service"), ("pods", "Pod")],
    "/apis/apps/v1": [("deployments", "Deployment")],
    "/apis/authorization.k8s.io/v1": [("selfsubjectaccessreviews", "SelfSubjectAccessReview")],
}
PROTOBUF: Final = b"k8s\0"
REJECTED: Final = "the server rejected our request due to an error in our request"
KINDS: Final = {plural: kind for resources in GROUPS.values() for plural, kind in resources}


def as_it_should(method: str, path: str) -> None:
    """Nothing out of the ordinary happens."""


@dataclass
class Cluster:
    """What the server knows.

    denied: `verb resource/name` that the client may not do. stuck: deployments that never become available.
    before: called with method and path of each request, before it is carried out; may raise `Misbehave`.
    after: the same before it is answered. requests: what was asked, in order.
    """

    port: int = 0
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)
    before: Callable[[str, str], None] = as_it_should
    after: Callable[[str, str], None] = as_it_should
    requests: list[str] = field(default_factory=list)
    version: int = 100
    changed: threading.Condition = field(default_factory=threading.Condition)
    over: bool = False
    folder: Path = field(default_factory=Path)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def service(self, name: str, selector: dict[str, str], annotations: dict[str, str] | None = None) -> None:
        """A service that sends to the pods with these labels."""
        self._put("services", name, {"spec": {"selector": selector, "ports": [{"port": 80}]}}, annotations)

    def pod(self, name: str, labels: dict[str, str], *, ready: bool = True) -> None:
        """A pod of some deployment."""
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        self._put("pods", name, {"status": {"phase": "Running", "conditions": conditions}}, None, labels)

    def deployment(self, name: str, replicas: int) -> None:
        """A deployment, with all of its pods available."""
        spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {}}
        self._put("deployments", name, {"spec": spec}, {"deployment.kubernetes.io/revision": "1"})
        self._control(name)

    def of(self, plural: str, name: str) -> Object:
        """An object as it is now."""
        with self.changed:
            return copy.deepcopy(self.objects[plural, name])

    def edit(self, plural: str, name: str, change: Callable[[Object], Any]) -> None:
        """Change an object as somebody else would."""
        with self.changed:
            change(self.objects[plural, name])
            self._grow(plural, name)

    def patches(self) -> list[str]:
        """The requests that change something."""
        return [request for request in self.requests if request.startswith("PATCH")]

    def _put(
        self,
        plural: str,
        name: str,
        content: Object,
        annotations: dict[str, str] | None,
        labels: dict[str, str] | None = None,
    ) -> None:
        metadata: Object = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "generation": 1}
        if annotations is not None:
            metadata["annotations"] = annotations
        if labels is not None:
            metadata["labels"] = labels
        api = next(path for path, resources in GROUPS.items() if plural in dict(resources))
        version = api.removeprefix("/apis/").removeprefix("/api/")
        with self.changed:
            self.objects[plural, name] = {
                "apiVersion": version,
                "kind": KINDS[plural],
                "metadata": metadata,
                **content,
            }
            self._grow(plural, name)

    def _grow(self, plural: str, name: str) -> None:
        self.version += 1
        self.objects[plural, name]["metadata"]["resourceVersion"] = str(self.version)
        self.changed.notify_all()

    def patch(self, plural: str, name: str, operations: list[Object]) -> Object:
        """Apply a JSON patch as a whole. Raises ValueError or LookupError where an operation does not fit."""
        with self.changed:
            found = copy.deepcopy(self.objects[plural, name])
            before = copy.deepcopy(found.get("spec"))
            for operation in operations:
                _patch(found, operation)
            self.objects[plural, name] = found
            if found.get("spec") != before:
                found["metadata"]["generation"] += 1
            self._grow(plural, name)
            answer = copy.deepcopy(found)
        if plural == "deployments":
            threading.Timer(0.1, self._control, [name]).start()
        return answer

    def _control(self, name: str) -> None:
        """Do what the deployment controller does: as many pods as are wanted, unless they do not come up."""
        with self.changed:
            found = self.objects["deployments", name]
            wanted = found["spec"]["replicas"]
            available = min(wanted, found.get("status", {}).get("availableReplicas", 0))
            found["status"] = {
                "observedGeneration": found["metadata"]["generation"],
                "replicas": wanted,
                "updatedReplicas": wanted,
                "availableReplicas": available if name in self.stuck else wanted,
            }
            self._grow("deployments", name)


class MisbehaveError(Exception):
    """What a handler does instead of answering: `close` the connection, `hang`, or send these bytes."""


def _patch(found: Object, operation: Object) -> None:
    *path, last = [step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:]]
    parent = found
    for step in path:
        parent = parent[step]  # KeyError: the document has no such path
    kind, value = operation["op"], operation.get("value")
    if kind == "test" and parent.get(last) != value:
        raise ValueError(f"testing value {operation['path']} failed: test failed")
    if kind == "replace" and last not in parent:
        raise LookupError(f"doc is missing key: {operation['path']}")
    if kind in {"add", "replace"}:
        parent[last] = value


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster: Cluster

    def do_GET(self) -> None:
        self._handle(self._get)

    def do_PATCH(self) -> None:
        self._handle(self._do_patch)

    def do_POST(self) -> None:
        self._handle(self._review)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name for it
        """Say nothing."""

    def _handle(self, answer: Callable[[], None]) -> None:
        path = urlsplit(self.path).path
        self.body = self._read_body()
        self.cluster.requests.append(f"{self.command} {path}")
        try:
            self.cluster.before(self.command, path)
            answer()
        except MisbehaveError as how:
            self._misbehave(*how.args)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _misbehave(self, how: str | bytes) -> None:
        self.close_connection = True
        if isinstance(how, bytes):
            self.wfile.write(how)
        elif how == "hang":
            with self.cluster.changed:
                self.cluster.changed.wait_for(lambda: self.cluster.over)
        elif how == "drip":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{")
            with self.cluster.changed, contextlib.suppress(OSError):
                while not self.cluster.changed.wait_for(lambda: self.cluster.over, 0.05):
                    self.wfile.write(b" ")

    def _send(self, value: Object, status: int = 200) -> None:
        self.cluster.after(self.command, urlsplit(self.path).path)
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _fail(self, code: int, reason: str, message: str) -> None:
        plural, name = self._target(urlsplit(self.path).path)
        about = {"message": message, "reason": reason, "details": {"name": name, "kind": plural}, "code": code}
        self._send({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", **about}, code)

    # --- what there is ---------------------------------------------------------------------------------------

    def _get(self) -> None:
        path = urlsplit(self.path).path
        if path == "/version":
            self._send({"major": "1", "minor": "32", "gitVersion": "v1.32.0"})
        elif path == "/api":
            self._send({"kind": "APIVersions", "versions": ["v1"]})
        elif path == "/apis":
            names = [group.split("/")[2:] for group in GROUPS if group.startswith("/apis/")]
            versions = [{"groupVersion": f"{name}/{version}", "version": version} for name, version in names]
            groups = [
                {"name": name, "versions": [each], "preferredVersion": each}
                for (name, _), each in zip(names, versions, strict=True)
            ]
            self._send({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        elif path in GROUPS:
            verbs = ["get", "list", "watch", "patch", "create"]
            resources = [
                {"name": plural, "singularName": plural[:-1], "namespaced": True, "kind": kind, "verbs": verbs}
                for plural, kind in GROUPS[path]
            ]
            group = path.removeprefix("/apis/").removeprefix("/api/")
            self._send({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": resources})
        elif path == "/api/v1/namespaces/shop":
            self._send({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "shop"}})
        else:
            self._get_objects(path)

    def _target(self, path: str) -> tuple[str, str]:
        steps = path.split("/namespaces/shop/")
        plural, _, name = steps[-1].partition("/")
        return (plural, name) if len(steps) == 2 else ("", "")

    def _denied(self, verb: str, plural: str, name: str) -> bool:
        if not {f"{verb} {plural}", f"{verb} {plural}/{name}"} & self.cluster.denied:
            return False
        what = f'{plural} "{name}" is forbidden: User "opsdash" cannot {verb} resource "{plural}"'
        self._fail(403, "Forbidden", what)
        return True

    def _get_objects(self, path: str) -> None:
        plural, name = self._target(path)
        query = parse_qs(urlsplit(self.path).query)
        if self._denied("get" if name else "list", plural, name):
            return
        if name:
            with self.cluster.changed:
                found = copy.deepcopy(self.cluster.objects.get((plural, name)))
            if found is None:
                self._fail(404, "NotFound", f'{plural} "{name}" not found')
            else:
                self._send(found)
        elif query.get("watch"):
            self._watch(plural, int(query.get("resourceVersion", ["0"])[0] or 0), query)
        elif plural in KINDS:
            with self.cluster.changed:
                metadata = {"resourceVersion": str(self.cluster.version)}
                items = copy.deepcopy(self._selected(plural, query))
            kind = f"{KINDS[plural]}List"
            api = "apps/v1" if plural == "deployments" else "v1"
            self._send({"kind": kind, "apiVersion": api, "metadata": metadata, "items": items})
        else:
            self._fail(404, "NotFound", "the server could not find the requested resource")

    def _selected(self, plural: str, query: dict[str, list[str]]) -> list[Object]:
        labels = [each.split("=") for each in query.get("labelSelector", [""])[0].split(",") if each]
        name = query.get("fieldSelector", [""])[0].removeprefix("metadata.name=")
        return [
            found
            for (kind, key), found in self.cluster.objects.items()
            if kind == plural
            and (not name or key == name)
            and all(found["metadata"].get("labels", {}).get(key) == value for key, value in labels)
        ]

    def _watch(self, plural: str, seen: int, query: dict[str, list[str]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        while not self.cluster.over:
            with self.cluster.changed:
                found = [
                    copy.deepcopy(each)
                    for each in self._selected(plural, query)
                    if int(each["metadata"]["resourceVersion"]) > seen
                ]
                if not found:
                    self.cluster.changed.wait(0.5)
                    continue
            for each in found:
                self.wfile.write(json.dumps({"type": "MODIFIED", "object": each}).encode() + b"\n")
                seen = max(seen, int(each["metadata"]["resourceVersion"]))
            self.wfile.flush()

    # --- what is changed -------------------------------------------------------------------------------------

    def _do_patch(self) -> None:
        plural, name = self._target(urlsplit(self.path).path)
        if self._denied("patch", plural, name):
            return
        if (plural, name) not in self.cluster.objects:
            self._fail(404, "NotFound", f'{plural} "{name}" not found')
            return
        try:
            found = self.cluster.patch(plural, name, json.loads(self.body))
        except (ValueError, LookupError):
            # What failed in particular is told to nobody: this is all that the real server says.
            about = {"message": REJECTED, "reason": "Invalid", "details": {}, "code": 422}
            self._send({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", **about}, 422)
        else:
            self._send(found)

    def _review(self) -> None:
        if self.body.startswith(PROTOBUF):
            verb, resource, name = _attributes(self.body)
        else:
            asked = json.loads(self.body)["spec"]["resourceAttributes"]
            verb, resource, name = asked["verb"], asked["resource"], asked.get("name", "")
        allowed = not {f"{verb} {resource}", f"{verb} {resource}/{name}"} & self.cluster.denied
        about = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": {}}
        self._send({**about, "status": {"allowed": allowed}}, 201)


def _attributes(body: bytes) -> tuple[str, str, str]:
    """Verb, resource and name of a review in protobuf, which newer clients speak."""
    spec = _fields(_fields(_fields(body.removeprefix(PROTOBUF))[2])[2])
    asked = _fields(spec[1])
    return asked[2].decode(), asked[5].decode(), asked.get(7, b"").decode()


def _fields(message: bytes) -> dict[int, bytes]:
    """The fields of a protobuf message that have a length; in those looked at, no length exceeds 127."""
    fields = {}
    place = 0
    while place < len(message):
        key = message[place]
        if key & 7 == 2:
            length = message[place + 1]
            fields[key >> 3] = message[place + 2 : place + 2 + length]
            place += 2 + length
        else:
            place += 2
    return fields


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


@contextlib.contextmanager
def kubernetes(folder: Path) -> Iterator[Cluster]:
    """A cluster with the namespace `shop`, and `folder/kubeconfig` for it."""
    cluster = Cluster(folder=folder)
    handler = type("Handler", (_Handler,), {"cluster": cluster})
    server = _Server(("127.0.0.1", 0), handler)
    cluster.port = server.server_address[1]
    (folder / "kubeconfig").write_text(json.dumps(kubeconfig(cluster.url)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield cluster
    finally:
        with cluster.changed:
            cluster.over = True
            cluster.changed.notify_all()
        server.shutdown()
        server.server_close()
        thread.join()


def kubeconfig(url: str) -> Object:
    """How kubectl finds a server: one context, `test`, in the namespace `shop`."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "opsdash", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "opsdash", "namespace": "shop"}}],
    }
