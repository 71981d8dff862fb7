"""A stand-in for systemd: a `systemctl` that keeps the state of each unit in a file, and units that misbehave.

There is no real one in the tests. It would have to run as root, and a manager that is not alone on a machine sorts all
processes there into control groups of its own. What this one prints, and the codes with which it ends, are those of
systemctl 252: `start` ends with 0 for a service that fails a moment later, 5 is "no such unit", 4 is "not permitted",
`is-active` gives 3 for what is not active, `show` gives the properties in an order of its own, and a unit that does not
exist is shown as `not-found` and `inactive`.
"""

from __future__ import annotations

import contextlib
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WELL: Final = ""
FAILS: Final = "fails"
FLAPS: Final = "flaps"
RESTARTS: Final = "restarts"
NEVER_READY: Final = "never-ready"
DEAF: Final = "deaf"

# A unit is a file of assignments; `does` is how it misbehaves. `show` is what time is made of: with each look at it, a
# unit that flaps or restarts does so once more.
SYSTEMCTL: Final = r"""#!/bin/sh
cd "$(dirname "$0")" || exit 1
while :; do case $1 in --user) shift;; *) break;; esac; done
verb=$1; shift
echo "$verb $*" >>calls

full() { case $1 in *.service) echo "$1";; *) echo "$1.service";; esac; }
found() {
  load=not-found error="org.freedesktop.systemd1.NoSuchUnit \"Unit $1 not found.\""
  active=inactive sub=dead file= restarts=0 run=0 last=0 does=
  [ -f "units/$1" ] || return 0
  load=loaded error= file=disabled
  . "./units/$1"
}
keep() {
  for key in load error active sub file restarts run last does; do
    eval "value=\$$key"
    printf "%s='%s'\n" $key "$value"
  done >"units/$1.new"
  mv "units/$1.new" "units/$1"
}
tick() { read -r clock <clock; clock=$((clock + 1)); echo $clock >clock; last=$clock; }

case $verb in
BUT) ;;
show)
  shift
  for name; do
    unit=$(full "$name"); found "$unit"
    if [ "$active" = active ] && [ "$does" = restarts ]; then run=$((run + 1)); keep "$unit"; fi
    if [ "$does" = flaps ] && [ "$active" != inactive ]; then
      if [ "$active" = active ]; then active=activating sub=auto-restart
      else active=active sub=running; restarts=$((restarts + 1)); fi
      keep "$unit"
    fi
    printf 'NRestarts=%s\nLoadState=%s\nActiveState=%s\nSubState=%s\n' "$restarts" "$load" "$active" "$sub"
    printf 'UnitFileState=%s\nInactiveEnterTimestampMonotonic=%s\nLoadError=%s\n' "$file" "$last" "$error"
    printf 'InvocationID=%s\n\n' "$run"
  done;;
is-active)
  code=3
  for name; do found "$(full "$name")"; echo "$active"; [ "$active" = active ] && code=0; done
  exit $code;;
cat) found "$(full "$1")"; [ $load = loaded ] || { echo "No files found for $(full "$1")." >&2; exit 1; };;
start)
  unit=$(full "$1"); found "$unit"
  [ $load = masked ] && { echo "Failed to start $unit: Unit $unit is masked." >&2; exit 1; }
  [ $load = loaded ] || { echo "Failed to start $unit: Unit $unit not found." >&2; exit 5; }
  [ "$active" = active ] && exit 0
  run=$((run + 1))
  case $does in
  fails) active=failed sub=failed; tick; keep "$unit";;
  never-ready) active=activating sub=start; keep "$unit"; exec sleep 60;;
  *) active=active sub=running; keep "$unit";;
  esac;;
stop)
  code=0
  for name; do
    unit=$(full "$name"); found "$unit"
    [ $load = loaded ] || { echo "Failed to stop $unit: Unit $unit not loaded." >&2; code=5; continue; }
    [ "$active" = inactive ] || [ "$active" = failed ] && continue
    [ "$does" = deaf ] && { active=deactivating sub=stop-sigterm; keep "$unit"; exec sleep 60; }
    active=inactive sub=dead; tick; keep "$unit"
  done
  exit $code;;
enable) unit=$(full "$1"); found "$unit"; [ "$file" = static ] || file=enabled; keep "$unit";;
disable) for name; do unit=$(full "$name"); found "$unit"; file=disabled; keep "$unit"; done;;
kill) unit=$(full "$1"); found "$unit"; active=failed sub=failed; tick; keep "$unit";;
*) echo "Unknown command verb $verb." >&2; exit 1;;
esac
"""

SYSTEMD_RUN: Final = """#!/bin/sh
cd "$(dirname "$0")" || exit 9
[ -e no-timers ] && { echo "Failed to start transient timer unit: Access denied" >&2; exit 1; }
echo "$*" >>timers
"""
"""Writes down what it was to do later, and does not do it."""


@dataclass(frozen=True)
class Systemd:
    """A folder with `systemctl` and `systemd-run` in it."""

    folder: Path

    def write(self, unit: str, does: str = WELL, **keys: str) -> None:
        """Have a unit that behaves like this; its state is as it was, or else that of one that was never started."""
        file = self.folder / "units" / f"{unit}.service"
        before = file.read_text() if file.exists() else ""
        more = "".join(f"{key}={shlex.quote(value)}\n" for key, value in {**keys, "does": does}.items())
        file.write_text(before + more)

    def put(self, unit: str, active: str, sub: str) -> None:
        """Have a unit in this state."""
        with (self.folder / "units" / f"{unit}.service").open("a") as file:
            file.write(f"active={active} sub={sub}\n")

    def but(self, verb: str, script: str) -> None:
        """Have systemctl do something else for a verb."""
        (self.folder / "systemctl").write_text(SYSTEMCTL.replace("BUT) ;;", f"{verb}) {script};;", 1))

    def state(self, unit: str) -> str:
        """`active`, `failed`, …"""
        lines = (self.folder / "units" / f"{unit}.service").read_text().splitlines()
        said = [line for line in lines if line.startswith("active=")]
        return shlex.split(said[-1])[0].removeprefix("active=") if said else "inactive"

    def changes(self) -> list[str]:
        """The calls that change something, in their order."""
        calls = self.folder / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        return [line for line in lines if line.split()[0] not in {"show", "is-active", "cat"}]

    def forget(self) -> None:
        """Forget the calls so far."""
        (self.folder / "calls").unlink(missing_ok=True)


@contextlib.contextmanager
def systemd(folder: Path) -> Iterator[Systemd]:
    """`mailer-a` is active, `mailer-b` is not."""
    (folder / "units").mkdir()
    (folder / "clock").write_text("0\n")
    for name, script in (("systemctl", SYSTEMCTL), ("systemd-run", SYSTEMD_RUN)):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    made = Systemd(folder)
    made.write("mailer-a", active="active", sub="running", run="1")
    made.write("mailer-b")
    yield made
