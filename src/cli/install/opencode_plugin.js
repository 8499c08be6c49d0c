// Written by iaid install; iaid uninstall removes it.
// Runs `iaid hook` when a prompt is sent and when the assistant is done, and adds to the system prompt what it prints.
import { spawnSync } from "node:child_process";

const COMMAND = [];

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

  const hook = (event, id, input) => {
    try {
      const all = { session_id: id, cwd: session(id).cwd, hook_event_name: event, ...input };
      const options = { input: JSON.stringify(all), encoding: "utf8", timeout: 10000, maxBuffer: 1 << 20 };
      const { stdout } = spawnSync(COMMAND[0], [...COMMAND.slice(1), event], options);
      return stdout?.trim() ? (JSON.parse(stdout).additionalContext ?? "") : "";
    } catch {
      return "";
    }
  };

  const capture = (id) => {
    const { cwd, messages } = session(id);
    const said = [...messages.values()].filter(({ info }) => info);
    messages.clear();
    const list = said.map(({ info, parts }) => ({ info, parts: [...parts.values()] }));
    if (list.length > 0) hook("stop", id, { info: { id, directory: cwd }, messages: list });
  };

  return {
    "chat.message": async ({ sessionID }, { parts }) => {
      if (subagents.has(sessionID)) return;
      const state = session(sessionID);
      if (state.source) state.start = hook("session-start", sessionID, { source: state.source });
      state.source = "";
      const texts = parts.filter((part) => part.type === "text" && !part.synthetic && !part.ignored);
      state.prompt = hook("user-prompt-submit", sessionID, { prompt: texts.map((part) => part.text).join("\n") });
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
      if (type === "message.part.updated") {
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
