// Written by iaid install; iaid uninstall removes it.
// Runs `iaid hook` when a prompt is sent and when the assistant is done, and adds to the system prompt what it prints.
import { spawnSync } from "node:child_process";

const COMMAND = [];

// Parts that are no words of a turn, and may be long.
const OTHER_PARTS = new Set(["tool", "file", "patch", "snapshot", "reasoning"]);

// Characters that a hook is given at once, and that are kept of a session whose hooks fail.
const MAX_INPUT = 2_000_000;
const MAX_KEPT = 16_000_000;

export const Iaid = async ({ directory }) => {
  const sessions = new Map();
  const subagents = new Set();

  const session = (id) => {
    if (!sessions.has(id)) sessions.set(id, { source: "startup", start: "", prompt: "", cwd: directory, messages: new Map() });
    return sessions.get(id);
  };

  const message = (sessionID, id) => {
    const { messages } = session(sessionID);
    if (!messages.has(id)) messages.set(id, { info: undefined, parts: new Map() });
    return messages.get(id);
  };

  // Returns what the hook adds to the context; undefined if it did not run to its end.
  const hook = (event, id, input) => {
    try {
      const all = { session_id: id, cwd: session(id).cwd, hook_event_name: event, ...input };
      const options = { input: JSON.stringify(all), encoding: "utf8", timeout: 10000, maxBuffer: 1 << 20 };
      const { status, stdout } = spawnSync(COMMAND[0], [...COMMAND.slice(1), event], options);
      if (status !== 0) return undefined;
      return stdout?.trim() ? (JSON.parse(stdout).additionalContext ?? "") : "";
    } catch {
      return undefined;
    }
  };

  // Gives the messages to hooks, as many at once as one takes, and drops those that a hook has taken.
  const capture = (id) => {
    const { cwd, messages } = session(id);
    const waiting = [...messages].filter(([, { info }]) => info);
    const sizes = waiting.map(([, { parts }]) => JSON.stringify([...parts.values()]).length);
    let kept = sizes.reduce((sum, size) => sum + size, 0);
    let failed = false;
    for (let from = 0, to = 0; from < waiting.length; from = to) {
      let size = 0;
      do size += sizes[to++];
      while (to < waiting.length && size + sizes[to] <= MAX_INPUT);
      const list = waiting.slice(from, to).map(([, { info, parts }]) => ({ info, parts: [...parts.values()] }));
      failed ||= hook("stop", id, { info: { id, directory: cwd }, messages: list }) === undefined;
      // The next hook tries again. The oldest go if none ever ends.
      if (failed && kept <= MAX_KEPT) continue;
      kept -= size;
      for (const [key] of waiting.slice(from, to)) messages.delete(key);
    }
  };

  return {
    "chat.message": async ({ sessionID }, { parts }) => {
      if (subagents.has(sessionID)) return;
      const state = session(sessionID);
      if (state.source) state.start = hook("session-start", sessionID, { source: state.source }) ?? "";
      state.source = "";
      const texts = parts.filter((part) => part.type === "text" && !part.synthetic && !part.ignored);
      state.prompt = hook("user-prompt-submit", sessionID, { prompt: texts.map((part) => part.text).join("\n") }) ?? "";
    },

    "experimental.chat.system.transform": async ({ sessionID }, { system }) => {
      const state = sessions.get(sessionID);
      for (const text of [state?.start, state?.prompt]) if (text) system.push(text);
    },

    event: async ({ event: { type, properties } }) => {
      const id = properties?.sessionID ?? properties?.info?.sessionID ?? properties?.part?.sessionID;
      if (type === "session.created" || type === "session.updated") {
        if (properties.info.parentID) subagents.add(properties.info.id);
        else session(properties.info.id).cwd = properties.info.directory ?? directory;
      }
      if (!id || subagents.has(id)) return;
      if (type === "message.updated") message(id, properties.info.id).info = properties.info;
      if (type === "message.part.updated" && !OTHER_PARTS.has(properties.part.type)) {
        message(id, properties.part.messageID).parts.set(properties.part.id, properties.part);
      }
      if (type === "session.compacted") session(id).source = "compact";
      if (type === "session.idle") capture(id);
      if (type === "session.deleted") sessions.delete(id);
    },

    dispose: async () => {
      for (const id of sessions.keys()) capture(id);
    },
  };
};
