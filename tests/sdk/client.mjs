// The bridge through the official TypeScript SDK. The client checks each result against the tool's
// output schema by itself.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { encode } from "gpt-tokenizer/encoding/o200k_base";

const program = process.argv[2];

async function connected(changed) {
  const { IAI_DAEMON_SOCKET_PATH, IAI_MCP_STORE, HOME, PATH } = process.env;
  const env = { IAI_DAEMON_SOCKET_PATH, IAI_MCP_STORE, HOME, PATH, ...changed };
  const client = new Client({ name: "test", version: "1" });
  await client.connect(new StdioClientTransport({ command: program, args: ["mcp"], env }));
  return client;
}

const client = await connected({});
assert.equal(client.getServerVersion().name, "iaid");
assert.match(client.getInstructions(), /memory_recall/);

const { tools } = await client.listTools();
assert.equal(tools.length, 12);
assert.equal(tools.find((tool) => tool.name === "memory_recall").annotations.readOnlyHint, true);

async function call(name, args = {}) {
  const result = await client.callTool({ name, arguments: args });
  assert.ok(!result.isError, `${name}: ${JSON.stringify(result)}`);
  assert.ok(result.content[0].text);
  return result.structuredContent;
}

const text = "TypeScript speaks to the memory.";
// Of another session: what a session has just said stands behind the rest in its recalls.
const first = await call("memory_capture", { text, session_id: "earlier" });
const other = await call("memory_capture", { text: "It has said so, in TypeScript, twice." });
assert.equal(first.status, "inserted");
const recalled = await call("memory_recall", { cue: `"${text}"`, limit: 3 });
assert.equal(recalled.hits[0].literal_surface, text);
assert.equal((await call("memory_read", { id: first.record_id })).literal_surface, text);
await call("memory_reinforce", { ids: [first.record_id, other.record_id] });
await call("memory_contradict", { id: first.record_id, new_fact: "TypeScript has spoken." });
await call("memory_recall_structural", { structure_query: { who: "user" } });
await call("memory_consolidate");
assert.ok((await call("profile_get_set", { operation: "get" })).live);
await call("curiosity_pending");
await call("schema_list");
await call("events_query", { kind: "s4_contradiction" });
await call("topology");

const refused = await client.callTool({ name: "memory_recall", arguments: { cue: "x", limit: 0 } });
assert.ok(refused.isError && refused.content[0].text.includes("from 1 to 100"));
await assert.rejects(client.callTool({ name: "nothing", arguments: {} }), { code: -32602 });

const { prompts } = await client.listPrompts();
assert.deepEqual(prompts.map((prompt) => prompt.name), ["recall", "remember", "what-changed"]);
const prompt = await client.getPrompt({ name: "remember", arguments: { what: "tea is at five" } });
assert.ok(prompt.messages[0].content.text.endsWith("tea is at five"));
const record = `iaid://record/${first.record_id}`;
const { resources } = await client.listResources();
assert.ok(resources.some(({ uri }) => uri.startsWith("iaid://record/")));
const { resourceTemplates } = await client.listResourceTemplates();
assert.deepEqual(resourceTemplates.map(({ name }) => name), ["record", "session"]);
assert.equal((await client.readResource({ uri: record })).contents[0].text, text);
await assert.rejects(client.readResource({ uri: "iaid://session/none" }), { code: -32002 });

// A recall with default arguments is at most 1500 tokens, whatever the store has.
const samples = readFileSync(process.argv[3], "utf8").trim().split("\n").map((line) => JSON.parse(line));
for (const kind of ["en", "de", "zh", "code"]) {
  const texts = samples.filter((sample) => sample.kind === kind).map((sample) => sample.text);
  const session_id = `long texts: ${kind}`;
  for (let at = 0; at < 12; at++) {
    const turned = texts.map((_, place) => texts[(at + place) % texts.length]);
    await call("memory_capture", { text: `${kind} ${at}\n${turned.join("\n").repeat(2)}`, session_id });
  }
  const cue = texts[0].slice(0, 60);
  const { content, structuredContent } = await client.callTool({ name: "memory_recall", arguments: { cue } });
  assert.ok(content[0].text.startsWith('{"hits":'));
  assert.deepEqual(JSON.parse(content[0].text), structuredContent);
  // How many are found in time depends on the machine.
  assert.ok(structuredContent.hits.some(({ passage }) => passage?.bytes > 0), content[0].text);
  const tokens = encode(content[0].text).length;
  assert.ok(tokens <= 1500, `${kind}: ${tokens} tokens`);
}

// Side by side over one client, some of them given up.
const given = new AbortController();
const calls = Array.from({ length: 20 }, () => call("memory_recall", { cue: "memory" }));
const givenUp = client.callTool({ name: "memory_consolidate", arguments: {} }, undefined, { signal: given.signal });
given.abort("not wanted any more");
await assert.rejects(givenUp);
await Promise.all(calls);
await client.ping();
await client.close();

const alone = await connected({ IAI_DAEMON_SOCKET_PATH: "/nowhere/socket" });
await alone.listTools();
await assert.rejects(alone.callTool({ name: "topology", arguments: {} }), (error) => {
  assert.equal(error.code, -32002);
  assert.match(error.message, /daemon_unreachable.*iaid serve/);
  return true;
});
await alone.close();
console.log("TypeScript SDK: passed");
