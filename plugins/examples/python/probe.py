"""A probe: the end of a log file. Fails while one of the last lines is a bad one, or if nothing was written for too long."""

import json
import re

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.plugin import Description, Grant, Problem
from wit_world.exports.probe import Outcome_Fail, Outcome_Pass, Outcome_Unknown
from wit_world.imports import clock, files

# Bytes from the end of the file that are read. Some hundred lines.
TAIL = 65536

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["path"],
    "properties": {
        "path": {"type": "string", "description": "absolute path of the log"},
        "bad": {"type": "string", "description": "regular expression (Python's) of lines that must not be there"},
        "lines": {"type": "integer", "minimum": 1, "default": 20, "description": "how many lines from the end are looked at"},
        "quiet": {"type": "integer", "minimum": 1, "description": "seconds without a new line after which something is wrong"},
    },
}


class Plugin(exports.Plugin):
    def describe(self):
        grants = [Grant("files", None, "path of the settings, with :ro")]
        return Description("probe-log", "0.1.0", json.dumps(SCHEMA), grants)

    def check_settings(self, settings):
        return problems(json.loads(settings))


class Probe(exports.Probe):
    def check(self, request):
        settings = json.loads(request.settings)
        found = problems(settings)
        if found:
            return Outcome_Unknown(found[0].message)
        path = settings["path"]
        try:
            status = files.status(path)
            text = files.read(path, max(0, status.size - TAIL), TAIL).decode(errors="replace")
        except Err as error:
            return refuse(path, error.value)
        age = (clock.wall_now() - status.modified) // 1_000_000_000
        if age > settings.get("quiet", age):
            return Outcome_Fail(f"nothing was written to {path} for {age} s")
        last = text.splitlines()[-settings.get("lines", 20) :]
        bad = [line for line in last if "bad" in settings and re.search(settings["bad"], line)]
        if bad:
            return Outcome_Fail(f"{len(bad)} of the last {len(last)} lines of {path} are bad; the last is: {bad[-1]}")
        return Outcome_Pass()


def problems(settings):
    """Every mistake in the settings."""
    found = [Problem(f"/{key}", f"there is no setting {key}") for key in settings.keys() - SCHEMA["properties"].keys()]
    if not str(settings.get("path", "")).startswith("/"):
        found.append(Problem("/path", 'path must be absolute; write path = "/var/log/app.log"'))
    for key in "lines", "quiet":
        if key in settings and (type(settings[key]) is not int or settings[key] < 1):
            found.append(Problem(f"/{key}", f"{key} must be a number, 1 or more"))
    try:
        re.compile(settings.get("bad", ""))
    except (re.error, TypeError) as error:
        found.append(Problem("/bad", f"bad is no regular expression: {error}"))
    return found


def refuse(path, error):
    """A log that is not there is the service's fault, one that may not be read is ours."""
    match error:
        case files.Error_NotFound():
            return Outcome_Fail(f"there is no {path}")
        case files.Error_TimedOut():
            return Outcome_Fail(f"cannot read {path}: the file system does not answer")
        case _:
            return Outcome_Unknown(f"cannot read {path}: {error.value}")
