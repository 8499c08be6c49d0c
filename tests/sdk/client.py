"""The bridge through the official Python SDK: with a handshake and without one.

The client checks each result against the tool's output schema by itself.
"""

import asyncio
import os
import sys

from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError

NAMES = ("IAI_DAEMON_SOCKET_PATH", "IAI_MCP_STORE")


def bridge(program, **changed):
    environment = {name: os.environ[name] for name in NAMES} | changed
    return stdio_client(StdioServerParameters(command=program, args=["mcp"], env=environment))


async def tools(client, mode):
    listed = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert len(listed) == 12, sorted(listed)
    assert listed["memory_recall"].annotations.read_only_hint
    assert listed["memory_recall"].output_schema["required"]

    async def call(name, **arguments):
        result = await client.call_tool(name, arguments)
        assert not result.is_error, (name, result)
        assert result.content[0].text
        return result.structured_content

    text = f"Python speaks to the memory, {mode}."
    # Of another session: what a session has just said stands behind the rest in its recalls.
    first = await call("memory_capture", text=text, session_id=f"earlier {mode}")
    other = await call("memory_capture", text=f"It has said so, {mode}, twice.")
    assert first["status"] == "inserted", first
    recalled = await call("memory_recall", cue=f"\"{text}\"", limit=3)
    assert recalled["hits"][0]["literal_surface"] == text, recalled
    assert (await call("memory_read", id=first["record_id"]))["literal_surface"] == text
    await call("memory_reinforce", ids=[first["record_id"], other["record_id"]])
    await call("memory_contradict", id=first["record_id"], new_fact=f"Python has spoken, {mode}.")
    await call("memory_recall_structural", structure_query={"who": "user"})
    await call("memory_consolidate")
    assert (await call("profile_get_set", operation="get"))["live"]
    await call("curiosity_pending")
    await call("schema_list")
    await call("events_query", kind="s4_contradiction")
    await call("topology")

    refused = await client.call_tool("memory_recall", {"cue": "x", "limit": 0})
    assert refused.is_error and "from 1 to 100" in refused.content[0].text, refused
    try:
        await client.call_tool("nothing", {})
    except MCPError as error:
        assert error.code == -32602, error
    else:
        raise AssertionError("a tool that is not there was called")
    # Side by side over one client.
    await asyncio.gather(*(call("memory_recall", cue="memory") for _ in range(20)))


async def prompts_and_resources(client, mode):
    prompts = {prompt.name: prompt for prompt in (await client.list_prompts()).prompts}
    assert sorted(prompts) == ["recall", "remember", "what-changed"], prompts
    assert prompts["recall"].arguments[0].required
    got = await client.get_prompt("recall", {"about": "our pets"})
    assert got.messages[0].content.text.endswith("our pets"), got
    assert (await client.get_prompt("what-changed")).messages

    text = f"Python reads resources, {mode}."
    stored = await client.call_tool("memory_capture", {"text": text, "session_id": f"python {mode}"})
    record = f"iaid://record/{stored.structured_content['record_id']}"
    listed = {str(resource.uri) for resource in (await client.list_resources()).resources}
    assert record in listed, listed
    templates = (await client.list_resource_templates()).resource_templates
    assert [template.name for template in templates] == ["record", "session"], templates
    assert (await client.read_resource(record)).contents[0].text == text
    session = f"iaid://session/python%20{mode}"
    assert session in listed, listed
    assert text in (await client.read_resource(session)).contents[0].text
    try:
        await client.read_resource("iaid://record/none")
    except MCPError as error:
        assert error.code in (-32002, -32602), error
    else:
        raise AssertionError("a resource that is not there was read")


async def main(program):
    for mode, version in (("legacy", "2025-11-25"), ("auto", "2026-07-28"), ("2026-07-28", "2026-07-28")):
        async with Client(bridge(program), mode=mode) as client:
            assert client.protocol_version == version, client.protocol_version
            if mode != "2026-07-28":
                assert client.server_info.name == "iaid", client.server_info
                assert "memory_recall" in client.instructions
            await tools(client, mode)
            await prompts_and_resources(client, mode)
    async with Client(bridge(program, IAI_DAEMON_SOCKET_PATH="/nowhere/socket"), mode="legacy") as client:
        assert (await client.list_tools()).tools
        try:
            await client.call_tool("topology", {})
        except MCPError as error:
            assert error.code == -32002 and "daemon_unreachable" in error.message, error
        else:
            raise AssertionError("a daemon that is not there has answered")
    print("Python SDK: passed")


asyncio.run(main(sys.argv[1]))
