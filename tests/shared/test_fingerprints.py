"""What a yes is bound to: one canonical form of everything, however it is put together."""

from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from gatebook.intents import Intent, digest, fingerprint

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
CONTENTS = st.dictionaries(
    TEXTS,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@given(content=CONTENTS, words=st.lists(TEXTS, min_size=8, max_size=8))
def test_a_fingerprint_is_the_hash_of_the_canonical_form_of_all_it_binds(
    content: dict[str, JsonValue], words: list[str]
) -> None:
    target, operation, tenant, principal, mode, server, tool, schema = words
    intent = Intent(target=target, operation=operation, subject="s", content=content)
    whole: dict[str, JsonValue] = {
        "v": 1, "target": target, "operation": operation, "content": content, "tenant": tenant,
        "principal": principal, "mode": mode, "server": server, "tool": tool, "schema": schema,
    }  # fmt: skip
    print_ = fingerprint(
        intent, tenant=tenant, principal=principal, mode=mode, server=server, tool=tool, tool_sha256=schema
    )
    assert print_ == digest(whole)
