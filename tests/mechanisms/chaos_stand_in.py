"""A stand-in for Chaos Toolkit's `chaos`: it does what an experiment's file says, and ends as the real one does.

Keys of an experiment: `hold` (until it is interrupted), `breaks` (a file that is there until it rolls back), `deaf_to`
(signals that it does not hear), `run` and `rollbacks` (of its journal), `dies` (without a journal), `exit` (code).
"""

from __future__ import annotations

CHAOS = """
import json, pathlib, signal, sys
experiment = json.loads(pathlib.Path(sys.argv[-1]).read_text())
journal = next(word.partition("=")[2] for word in sys.argv if word.startswith("--journal-path="))
assert "--rollback-strategy=always" in sys.argv
told = {signal.SIGUSR1, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, told)
if broken := experiment.get("breaks"):
    pathlib.Path(broken).touch()
print("begun", flush=True)
if experiment.get("hold"):
    while signal.sigwait(told) in [getattr(signal, name) for name in experiment.get("deaf_to", [])]:
        pass
if broken:
    pathlib.Path(broken).unlink(missing_ok=True)
if not experiment.get("dies"):
    keys = ("run", "rollbacks")
    pathlib.Path(journal).write_text(json.dumps({key: experiment.get(key, []) for key in keys}))
sys.exit(experiment.get("exit", 0))
"""
