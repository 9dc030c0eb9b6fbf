"""Which added tokens the chat templates of a base write.

A template that spells `<think>` where the vocabulary lacks it is cut into bytes or letters: the model gets a text that it never saw.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tokgraft.tokenizers.base import Base, Special, added_facts

CALL = {"name": "look_up", "arguments": {"word": "Haus"}}
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks a word up.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string", "description": "The word."}}, "required": ["word"]},
    },
}
SYSTEM, USER = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a house?"}
ANSWER = {"role": "assistant", "content": "A building."}
THOUGHT = {**ANSWER, "reasoning_content": "They want a definition.", "thinking": "They want a definition."}
CALLED = {"role": "assistant", "content": "", "tool_calls": [{"id": "call00001", "type": "function", "function": CALL}]}
FOUND = {"role": "tool", "name": "look_up", "tool_call_id": "call00001", "content": "A building."}
CHATS: tuple[list[dict[str, Any]], ...] = (
    [USER],
    [USER, ANSWER, USER],
    [SYSTEM, USER, ANSWER],
    [USER, THOUGHT],
    [SYSTEM, USER, CALLED, FOUND, ANSWER, USER],
    [USER, CALLED, FOUND, THOUGHT],
)
SETTINGS: tuple[dict[str, Any], ...] = ({}, {"enable_thinking": True, "thinking": True}, {"enable_thinking": False, "thinking": False})


def written(base: Base) -> tuple[Special, ...]:
    """The added tokens of a base that are not special and that one of its chat templates can write, by ascending id.

    A token counts when the template's own text has it, or a conversation that it is given (system, user, assistant, tools, thinking).
    White space is left out: a new vocabulary has its own.
    """
    candidates = [Special(**facts) for facts in added_facts(base.spec) if not facts["special"] and not facts["content"].isspace()]
    sources = list(_templates(base))
    if not candidates or not sources:
        return ()
    texts = [*sources, *(text for source in sources for text in _rendered(source, base.roles))]
    return tuple(token for token in candidates if any(token.content in text for text in texts))


def _templates(base: Base) -> Iterator[str]:
    """Chat templates in files of their own, and those in tokenizer_config.json: one, or a list of named ones."""
    yield from base.templates.values()
    inside = base.config.get("chat_template")
    for entry in inside if isinstance(inside, list) else [inside]:
        template = entry.get("template") if isinstance(entry, dict) else entry
        if isinstance(template, str):
            yield template


def _rendered(template: str, roles: dict[str, str]) -> Iterator[str]:
    from transformers.utils.chat_template_utils import render_jinja_template

    for settings in SETTINGS:
        for tools in (None, [TOOL]):
            for chat in CHATS:
                try:
                    texts, *_ = render_jinja_template(
                        [chat], tools=tools, chat_template=template, add_generation_prompt=chat[-1]["role"] == "user", **settings, **roles
                    )
                except Exception:  # a template may refuse a conversation by any error
                    continue
                yield from texts
