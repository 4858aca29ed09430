// A probe: whether a value in a JSON document, found by a JSON Pointer, is the right one. The document is fetched by the host, over TLS too.
import { fetch } from "hilum:host/http@0.1.0";
import { at } from "./pointer.js";

/** Bytes of a document. More than a health page has. */
const DOCUMENT = 65536;

const SCHEMA = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  additionalProperties: false,
  required: ["url"],
  properties: {
    url: { type: "string", description: "http or https URL of a JSON document" },
    pointer: { type: "string", description: "JSON Pointer of the value; without it the whole document", default: "" },
    equals: { description: "what the value must be" },
    "at-least": { type: "number" },
    "at-most": { type: "number" },
  },
};

export const plugin = {
  describe: () => ({
    name: "probe-json",
    version: "0.1.0",
    settingsSchema: JSON.stringify(SCHEMA),
    grants: [{ kind: "connect", value: undefined, reason: "host and port of `url`" }],
  }),
  checkSettings: (settings) => problems(JSON.parse(settings)),
};

export const probe = {
  check({ settings }) {
    const wanted = JSON.parse(settings);
    const [problem] = problems(wanted);
    if (problem) return { tag: "unknown", val: problem.message };
    let response;
    try {
      response = fetch({
        method: "GET",
        url: wanted.url,
        headers: [["accept", "application/json"]],
        body: new Uint8Array(),
        redirects: 3,
        trust: { tag: "system" },
        identity: undefined,
        limit: DOCUMENT,
      });
    } catch (error) {
      return refuse(wanted.url, error);
    }
    return judge(wanted, response);
  },
};

/** Every mistake in the settings. */
function problems(settings) {
  const found = [];
  const say = (path, message) => found.push({ path, message });
  for (const key of Object.keys(settings)) {
    if (!(key in SCHEMA.properties)) say(`/${key}`, `there is no setting ${key}`);
  }
  const { url, pointer = "" } = settings;
  if (!/^https?:\/\/./.test(url)) say("/url", 'url must be one; write url = "http://127.0.0.1:8080/health.json"');
  if (pointer !== "" && !String(pointer).startsWith("/")) say("/pointer", 'pointer must begin with "/", such as "/queue/length"');
  for (const key of ["at-least", "at-most"]) {
    if (key in settings && typeof settings[key] !== "number") say(`/${key}`, `${key} must be a number`);
  }
  return found;
}

/** Whether an answer is what the settings want. */
function judge({ url, pointer = "", equals, ...limits }, { status, body, cut }) {
  if (status !== 200) return { tag: "fail", val: `${url} answered with status ${status}` };
  if (cut) return { tag: "fail", val: `${url} sent more than ${DOCUMENT} bytes` };
  let value;
  try {
    value = at(JSON.parse(text(body)), pointer);
  } catch (error) {
    return { tag: "fail", val: `${url} sent no JSON: ${error.message}` };
  }
  const fail = (why) => ({ tag: "fail", val: `${pointer || "the document"} of ${url} is ${JSON.stringify(value) ?? "missing"}${why}` });
  if (value === undefined) return fail("");
  if (equals !== undefined && JSON.stringify(value) !== JSON.stringify(equals)) return fail(`, not ${JSON.stringify(equals)}`);
  if ("at-least" in limits && !(value >= limits["at-least"])) return fail(`, less than ${limits["at-least"]}`);
  if ("at-most" in limits && !(value <= limits["at-most"])) return fail(`, more than ${limits["at-most"]}`);
  return { tag: "pass" };
}

/** Text of UTF-8; the engine has no TextDecoder. */
function text(bytes) {
  let escaped = "";
  for (const byte of bytes) escaped += `%${byte.toString(16).padStart(2, "0")}`;
  return decodeURIComponent(escaped);
}

/** What could not be done: fails, or is unknown if it is ours and not the service's. */
function refuse(url, error) {
  if (error.payload === undefined) throw error;
  const { tag, val } = error.payload;
  const ours = ["denied", "forbidden", "invalid", "unsupported", "name-unresolved", "limit"].includes(tag);
  const why = { refused: "nobody listens there", "timed-out": "it did not answer in time", closed: "it broke the connection off" };
  return { tag: ours ? "unknown" : "fail", val: `cannot fetch ${url}: ${why[tag] ?? val}` };
}
