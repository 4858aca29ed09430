// A probe: whether a service answers PING with +PONG, as everything that speaks Redis does.
//
// The engine is QuickJS: the language, and JSON. What else there is is imported; wit/deps/host says what each function means.
import { connect } from "hilum:host/tcp@0.1.0";

/** Bytes of an answer that are read. More than any line worth showing. */
const ANSWER = 256;

export const plugin = {
  describe() {
    return {
      name: "{{name}}",
      version: "0.1.0",
      settingsSchema: JSON.stringify({
        $schema: "https://json-schema.org/draft/2020-12/schema",
        type: "object",
        additionalProperties: false,
        required: ["host", "port"],
        properties: {
          host: { type: "string", description: "address or name to connect to" },
          port: { type: "integer", minimum: 1, maximum: 65535 },
        },
      }),
      grants: [{ kind: "connect", value: undefined, reason: "host and port of the settings" }],
    };
  },

  checkSettings(settings) {
    return problems(JSON.parse(settings));
  },
};

export const probe = {
  check({ settings }) {
    const { host, port } = JSON.parse(settings);
    const [problem] = problems({ host, port });
    if (problem) return { tag: "unknown", val: problem.message };
    try {
      return ask(connect(host, port));
    } catch (error) {
      return refuse(`${host}:${port}`, error);
    }
  },
};

/** Every mistake in the settings. */
function problems({ host, port, ...rest }) {
  const found = [];
  if (typeof host !== "string" || host === "") {
    found.push({ path: "/host", message: 'host is missing; write host = "127.0.0.1"' });
  }
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    found.push({ path: "/port", message: "port must be a number from 1 to 65535" });
  }
  for (const key of Object.keys(rest)) found.push({ path: `/${key}`, message: `there is no setting ${key}` });
  return found;
}

/** Asks over an open connection. */
function ask(connection) {
  connection.write(Uint8Array.from("PING\r\n", (letter) => letter.charCodeAt(0)));
  let answer = "";
  // An answer may come in pieces.
  while (answer.length < ANSWER && !answer.includes("\n")) {
    const bytes = connection.read(ANSWER - answer.length);
    if (bytes.length === 0) break;
    answer += String.fromCharCode(...bytes);
  }
  if (answer.startsWith("+PONG")) return { tag: "pass" };
  return { tag: "fail", val: `PING was answered with ${JSON.stringify(answer)}, not +PONG` };
}

/** What could not be done: fails, or is unknown if it is ours and not the service's. */
function refuse(place, error) {
  // What the host answers is the payload of what is thrown; everything else is a mistake in here.
  if (error.payload === undefined) throw error;
  const { tag, val } = error.payload;
  const ours = ["denied", "forbidden", "invalid", "unsupported", "name-unresolved", "limit"].includes(tag);
  const why = { refused: "nobody listens there", "timed-out": "it did not answer in time", closed: "it broke the connection off" };
  return { tag: ours ? "unknown" : "fail", val: `cannot ask ${place}: ${why[tag] ?? val}` };
}
