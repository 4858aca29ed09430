"""The modules a plugin imports, for tests on this machine: import this before the plugin.

What componentize-py generates has the same names. `peers` is the network: what the peer at (host, port) does is a list of steps, bytes that
it sends and errors that it meets; when they are used up it has ended its side. `written` is what the plugin wrote.
"""

import sys
from dataclasses import dataclass
from types import ModuleType

peers = {}
written = []


@dataclass(frozen=True)
class Err(Exception):
    value: object


class Record:
    """A record or case: fields in order, compared by value."""

    fields = ()

    def __init__(self, *values):
        for field, value in zip(self.fields, values, strict=True):
            setattr(self, field, value)

    def __eq__(self, other):
        return type(self) is type(other) and vars(self) == vars(other)

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(map(repr, vars(self).values()))})"


def record(name, *fields):
    return type(name, (Record,), {"fields": fields, "__match_args__": fields})


class Connection:
    def __init__(self, steps):
        self.steps = list(steps)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def write(self, data):
        written.append(data)

    def read(self, limit):
        if not self.steps:
            return b""
        step = self.steps.pop(0)
        if not isinstance(step, bytes):
            raise Err(step)
        if len(step) > limit:
            self.steps.insert(0, step[limit:])
        return step[:limit]


def connect(host, port):
    steps = peers.get((host, port))
    if steps is None:
        raise Err(connection.Error_Denied(f"connect to {host}:{port} is not granted"))
    if isinstance(steps, Record):
        raise Err(steps)
    return Connection(steps)


def module(name, **members):
    made = sys.modules[name] = ModuleType(name)
    vars(made).update(members)
    return made


connection = module(
    "wit_world.imports.connection",
    Error_Refused=record("Error_Refused"),
    Error_TimedOut=record("Error_TimedOut"),
    Error_Closed=record("Error_Closed"),
    **{
        name: record(name, "value")
        for name in [
            "Error_Denied",
            "Error_Forbidden",
            "Error_Invalid",
            "Error_Unsupported",
            "Error_NameUnresolved",
            "Error_Unreachable",
            "Error_Untrusted",
            "Error_Limit",
            "Error_Other",
        ]
    },
)
tcp = module("wit_world.imports.tcp", connect=connect)
plugin = module(
    "wit_world.exports.plugin",
    Description=record("Description", "name", "version", "settings_schema", "grants"),
    Grant=record("Grant", "kind", "value", "reason"),
    Problem=record("Problem", "path", "message"),
)
probe = module(
    "wit_world.exports.probe",
    Request=record("Request", "settings", "timeout_ms", "attempt"),
    Outcome_Pass=record("Outcome_Pass"),
    Outcome_Fail=record("Outcome_Fail", "value"),
    Outcome_Unknown=record("Outcome_Unknown", "value"),
)
exports = module("wit_world.exports", plugin=plugin, probe=probe, Plugin=object, Probe=object)
imports = module("wit_world.imports", tcp=tcp, connection=connection)
module("wit_world", exports=exports, imports=imports)
module("componentize_py_types", Err=Err)
