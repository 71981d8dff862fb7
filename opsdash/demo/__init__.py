"""The example operation's services: real servers on loopback, in one child process, with faults to inject.

The example operation at the top of the repository (`opsdash.yaml`, `checks/`, `runbooks/`) is a workspace
like any other; what it watches and switches lives here. `process` is the parent's side (start, inject,
close), `services` the child's. Nothing in here knows opsdash: a check meets these servers the way it meets
a vendor's.
"""
