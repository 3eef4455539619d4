"""A labgrid coordinator as we use it: reserve a place by its tags, get the URL of its port, give it back."""

import dataclasses
import json
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mmoe_embed.errors import DeviceError, ToolchainError, ToolkitError

_AGENT = Path(__file__).with_name("agent.py")
_POLL_S = 0.2
_ANSWER_S = 30.0
_ENVIRONMENT = "python3 -m venv farm && farm/bin/pip install labgrid, then --labgrid-python farm/bin/python"


class NoPlaceError(DeviceError):
    """No place with the wanted tags came free in time."""


@dataclasses.dataclass(frozen=True)
class Place:
    """An acquired place and the URL of its serial port."""

    name: str
    url: str
    token: str


class Lab:
    """One session at a coordinator; threads may share it."""

    def __init__(self, address: str, python: str) -> None:
        """Connect.

        Args:
            address: HOST:PORT of the coordinator.
            python: the interpreter of an environment that has labgrid.

        Raises:
            ToolchainError: there is no such interpreter, or it has no labgrid.
            DeviceError: no coordinator answers.
        """
        self._address = address
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        try:
            self._agent = subprocess.Popen(
                [python, str(_AGENT), address],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,  # Ctrl-C is ours: it gives the places back when we are done with them
            )
        except OSError as error:
            raise ToolchainError(f"cannot run {python}: {error.strerror}", try_="--labgrid-python PATH") from None
        try:
            self._read()
        except ToolkitError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def stop(self) -> None:
        """End every wait for a place, and every run at its next `check_open`."""
        self._stopped.set()

    def check_open(self) -> None:
        """Go on only where nobody has stopped the session.

        Raises:
            DeviceError: somebody has.
        """
        if self._stopped.is_set():
            raise DeviceError("the labgrid session was stopped", at=self._address)

    def close(self) -> None:
        """Give everything back and end the session."""
        if self._agent.stdin:
            self._agent.stdin.close()
        try:
            self._agent.wait(_ANSWER_S)
        except subprocess.TimeoutExpired:
            self._agent.kill()
            self._agent.wait()
        for stream in (self._agent.stdout, self._agent.stderr):
            if stream:
                stream.close()

    def acquire(self, tags: Mapping[str, str], *, patience_s: float) -> Place:
        """Wait for a place that has all these tags, and take it.

        Raises:
            NoPlaceError: the coordinator has none, or none came free in time.
            DeviceError: the place has no serial port, or the coordinator fails.
        """
        fitting = self._list_places(tags)
        if not fitting:
            raise NoPlaceError(
                f"no place with {_describe(tags)} at this coordinator",
                at=self._address,
                try_=f"labgrid-client -p PLACE set-tags {' '.join(f'{k}={v}' for k, v in tags.items())}",
            )
        token = str(self._ask(do="reserve", tags=dict(tags))["token"])
        end = time.monotonic() + patience_s
        try:
            while True:
                self.check_open()
                state = self._ask(do="poll", token=token)
                if state["place"]:
                    break
                if state["ended"] or time.monotonic() > end:
                    raise NoPlaceError(
                        f"no place with {_describe(tags)} came free in {patience_s:g} s",
                        at=self._address,
                        try_=f"places with these tags: {', '.join(fitting)}; wait for them with a longer --patience",
                    )
                time.sleep(_POLL_S)
            name = str(state["place"])
            resources = self._ask(do="acquire", place=name)["resources"]
        except DeviceError:
            self._ask(do="cancel", token=token)
            raise
        try:
            return Place(name, _find_url(name, resources), token)
        except DeviceError:
            self.release(Place(name, "", token))
            raise

    def release(self, place: Place) -> None:
        """Give a place back."""
        self._ask(do="release", place=place.name)
        self._ask(do="cancel", token=place.token)

    def _list_places(self, tags: Mapping[str, str]) -> list[str]:
        places: dict[str, dict[str, str]] = self._ask(do="places")["places"]
        return sorted(name for name, has in places.items() if tags.items() <= has.items())

    def _ask(self, **request: Any) -> dict[str, Any]:
        with self._lock:
            if not self._agent.stdin:
                raise DeviceError("the labgrid session is closed", at=self._address)
            try:
                self._agent.stdin.write(json.dumps(request) + "\n")
                self._agent.stdin.flush()
            except OSError:
                raise DeviceError("the labgrid session ended", at=self._address) from None
            return self._read()

    def _read(self) -> dict[str, Any]:
        line = self._agent.stdout.readline() if self._agent.stdout else ""
        if not line:
            said = self._agent.stderr.read().strip().splitlines() if self._agent.stderr else []
            last = said[-1] if said else "no message"
            if "No module named" in last:
                raise ToolchainError(
                    f"the farm's environment has no labgrid: {last}",
                    at=str(self._agent.args),
                    try_=_ENVIRONMENT,
                )
            raise DeviceError(f"the labgrid session ended: {last}", at=self._address)
        try:
            reply: dict[str, Any] = json.loads(line)
        except ValueError:
            raise ToolchainError(
                f"this is no Python: it said {line.strip()[:60]!r}", at=str(self._agent.args), try_=_ENVIRONMENT
            ) from None
        if error := reply.get("error"):
            raise DeviceError(f"labgrid: {error}", at=self._address, try_="labgrid-coordinator, labgrid-exporter")
        return reply


def _describe(tags: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in tags.items())


def _find_url(place: str, resources: list[dict[str, Any]]) -> str:
    for resource in resources:
        parameters = resource["parameters"]
        if resource["cls"] == "NetworkSerialPort" and resource["available"]:
            scheme = "socket" if parameters.get("protocol") == "raw" else "rfc2217"
            return f"{scheme}://{parameters['host']}:{parameters['port']}"
    raise DeviceError(
        f"place {place} has no serial port that is available",
        at=", ".join(resource["cls"] for resource in resources) or "no resources",
        try_="labgrid-client resources",
    )
