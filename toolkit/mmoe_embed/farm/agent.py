"""Speaks to a labgrid coordinator through its gRPC interface; a program of its own, run by the Python that has labgrid.

labgrid replaces pyserial's package, so it must not be installed beside mmoe-embed. usage: agent.py HOST:PORT. One JSON
object a line on standard input, one on standard output in reply; what is still held is given back when the input ends.
"""

import getpass
import json
import platform
import queue
import sys
import threading
from collections.abc import Iterator
from typing import Any

import grpc  # type: ignore[import-not-found, import-untyped, unused-ignore]
from labgrid.remote.generated import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
    labgrid_coordinator_pb2 as messages,
)
from labgrid.remote.generated import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
    labgrid_coordinator_pb2_grpc as services,
)

_TIMEOUT_S = 10.0
_ALLOCATED = (1, 2)  # ReservationState: allocated, acquired
_ENDED = (3, 4)  # expired, invalid


class Agent:
    """One session at a coordinator."""

    def __init__(self, address: str) -> None:
        self._stub = services.CoordinatorStub(grpc.insecure_channel(address))
        self._to_send: queue.Queue[Any] = queue.Queue()
        self._synced = threading.Event()
        self._resources: dict[tuple[str, str, str], Any] = {}
        self._places: dict[str, Any] = {}
        self._held: set[str] = set()
        self._tokens: set[str] = set()
        name = f"{platform.node()}/{getpass.getuser()}"
        start = messages.ClientInMessage()
        start.startup.version, start.startup.name = "mmoe-embed", name
        resources = messages.ClientInMessage()
        resources.subscribe.all_resources = True
        places = messages.ClientInMessage()
        places.subscribe.all_places = True
        sync = messages.ClientInMessage()
        sync.sync.id = 1
        for message in (start, resources, places, sync):
            self._to_send.put(message)
        self._updates = self._stub.ClientStream(self._outgoing())
        threading.Thread(target=self._listen, daemon=True).start()
        if not self._synced.wait(_TIMEOUT_S):
            raise ConnectionError(f"no labgrid coordinator answers at {address}")

    def _outgoing(self) -> Iterator[Any]:
        while (message := self._to_send.get()) is not None:
            yield message

    def _listen(self) -> None:
        try:
            for message in self._updates:
                for update in message.updates:
                    self._note(update)
                if message.HasField("sync"):
                    self._synced.set()
        except grpc.RpcError:
            return

    def _note(self, update: Any) -> None:
        kind = update.WhichOneof("kind")
        if kind in ("resource", "del_resource"):
            path = update.resource.path if kind == "resource" else update.del_resource
            key = (path.exporter_name, path.group_name, path.resource_name)
            if kind == "resource":
                self._resources[key] = update.resource
            else:
                self._resources.pop(key, None)
        elif kind == "place":
            self._places[update.place.name] = update.place

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Execute one request."""
        match request["do"]:
            case "reserve":
                wanted = {"main": messages.Reservation.Filter(filter=request["tags"])}
                reply = self._stub.CreateReservation(
                    messages.CreateReservationRequest(filters=wanted, prio=0.0), timeout=_TIMEOUT_S
                )
                self._tokens.add(reply.reservation.token)
                return {"token": reply.reservation.token}
            case "poll":
                reply = self._stub.PollReservation(
                    messages.PollReservationRequest(token=request["token"]), timeout=_TIMEOUT_S
                )
                state = reply.reservation.state
                place = reply.reservation.allocations.get("main") if state in _ALLOCATED else None
                return {"place": place, "ended": state in _ENDED}
            case "acquire":
                self._stub.AcquirePlace(messages.AcquirePlaceRequest(placename=request["place"]), timeout=_TIMEOUT_S)
                self._held.add(request["place"])
                return {"resources": self._describe(request["place"])}
            case "release":
                self._held.discard(request["place"])
                self._stub.ReleasePlace(messages.ReleasePlaceRequest(placename=request["place"]), timeout=_TIMEOUT_S)
                return {}
            case "cancel":
                self._tokens.discard(request["token"])
                self._stub.CancelReservation(
                    messages.CancelReservationRequest(token=request["token"]), timeout=_TIMEOUT_S
                )
                return {}
            case "places":
                return {"places": {name: dict(place.tags) for name, place in self._places.items()}}
        raise ValueError(f"unknown request {request['do']!r}")

    def _describe(self, place: str) -> list[dict[str, Any]]:
        """Class and parameters of every resource that the place matches."""
        found = []
        for (exporter, group, name), resource in self._resources.items():
            for match in self._places[place].matches:
                wanted = (match.exporter, match.group, match.cls)
                given = (exporter, group, resource.cls)
                if all(w in ("*", g) for w, g in zip(wanted, given, strict=True)) and (
                    not match.HasField("name") or match.name in ("*", name)
                ):
                    parameters = {
                        key: getattr(value, value.WhichOneof("kind")) for key, value in resource.params.items()
                    }
                    found.append({"cls": resource.cls, "available": resource.avail, "parameters": parameters})
                    break
        return found

    def close(self) -> None:
        """Give everything back."""
        for do, key, values in (("release", "place", set(self._held)), ("cancel", "token", set(self._tokens))):
            for value in values:
                try:
                    self.handle({"do": do, key: value})
                except grpc.RpcError:
                    continue
        self._to_send.put(None)
        self._updates.cancel()


def main() -> int:
    """Serve standard input until it ends."""
    try:
        agent = Agent(sys.argv[1])
    except (ConnectionError, grpc.RpcError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    print(json.dumps({}), flush=True)
    try:
        for line in sys.stdin:
            try:
                reply = agent.handle(json.loads(line))
            except grpc.RpcError as error:
                reply = {"error": f"{error.code().name}: {error.details()}"}
            print(json.dumps(reply), flush=True)
    finally:
        agent.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
