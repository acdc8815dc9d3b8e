"""The notes and their history: every write is a version, nothing is forgotten."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from gatebook.database.port import Transaction
from gatebook.errors import ConflictError, InvalidArgumentsError, NotFoundError
from gatebook.intents import text_digest
from gatebook_servers.memory.keys import end_of, folders, require_writable, valid_key, valid_tags, valid_value
from gatebook_servers.memory.models import Change, Entry, Note, Operation, Version, Written

_NOTE = ", ".join(Note.model_fields)
_VERSION = ", ".join(Version.model_fields)


@dataclass(frozen=True)
class _Draft:
    key: str
    value: str
    tags: tuple[str, ...]
    actor: str
    run_id: str


class Notes:
    """The memory tables, inside one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def put(
        self,
        key: str,
        value: str,
        *,
        tags: Iterable[str],
        actor: str,
        run_id: str = "",
        expected_version: int | None = None,
    ) -> Written:
        """Write a note; the same value and tags again are the same version.

        Args:
            key: A path such as `tickets/2026-11-22`.
            value: Any text of at most 100 KiB; comes back exactly as given.
            tags: Words to find it by; they replace the note's tags.
            actor: Who writes: `agent:...` or `person:...`.
            run_id: The run it is written in, without the epoch.
            expected_version: The version this builds on, 0 for a note that must not exist.

        Raises:
            ConflictError: If the note is at another version.
            ForbiddenError: If only people may write there.
            InvalidArgumentsError: If the key, the value or a tag does not fit, or the key is both note and folder.
            TooLargeError: If the value is larger than 100 KiB.
        """
        known = self._expected(key, actor=actor, version=expected_version)
        draft = _Draft(key, valid_value(value), valid_tags(tags), actor=actor, run_id=run_id)
        return self._write(known, draft, "put")

    def restore(
        self,
        key: str,
        *,
        from_version: int,
        tags: Iterable[str] | None = None,
        actor: str,
        run_id: str = "",
        expected_version: int | None = None,
    ) -> Written:
        """Write what an older version held as a new version; brings a deleted note back as well.

        Args:
            key: The note's key.
            from_version: The version to take the value of.
            tags: Tags to set; default those the note has, or had when it was deleted.
            actor: As for `put`.
            run_id: As for `put`.
            expected_version: As for `put`.

        Raises:
            NotFoundError: If there is no such version, or it is a deletion.
            GatebookError: Whatever refuses a put.
        """
        known = self._expected(key, actor=actor, version=expected_version)
        older = self.version(key, from_version)
        kept = known.tags if known else ()
        draft = _Draft(key, older.value, kept if tags is None else valid_tags(tags), actor=actor, run_id=run_id)
        return self._write(known, draft, "restore")

    def delete(self, key: str, *, actor: str, run_id: str = "", expected_version: int | None = None) -> Written:
        """Delete a note; its history stays.

        Raises:
            NotFoundError: If there is no such note.
            ConflictError: If the note is at another version.
            ForbiddenError: If only people may write there.
        """
        known = self._expected(key, actor=actor, version=expected_version)
        if known is None or known.deleted:
            raise _no_note()
        return self._write(known, _Draft(key, "", known.tags, actor=actor, run_id=run_id), "delete")

    def get(self, key: str) -> Note:
        """Return a note as it is now.

        Raises:
            NotFoundError: If there is none, or it is deleted.
        """
        note = self._live(valid_key(key))
        if note is None:
            raise _no_note()
        return note

    def version(self, key: str, number: int) -> Version:
        """Return what a note, or a deleted note, held at a version.

        Raises:
            NotFoundError: If there is no such version, or it is a deletion.
        """
        row = self._tx.one(
            f"SELECT {_VERSION} FROM memory_versions"  # noqa: S608 - constant columns
            " WHERE key = :key AND version = :version AND operation <> 'delete'",
            key=valid_key(key),
            version=number,
        )
        if row is None:
            raise NotFoundError(
                "the note has no such version with a text.", next_step="Call memory_history for its versions."
            )
        return Version.model_validate(dict(row))

    def select(self, *, prefix: str = "", after: str = "", limit: int) -> list[Entry]:
        """Return the notes below `prefix` behind the key `after`, in order of their keys."""
        rows = self._tx.all(
            """SELECT key, version, tags, LENGTH(value) AS chars, updated_at FROM memory_items
               WHERE deleted = 0 AND key >= :prefix AND key < :end AND key > :after ORDER BY key LIMIT :limit""",
            prefix=prefix,
            end=end_of(prefix),
            after=after,
            limit=limit,
        )
        return [Entry.model_validate(dict(row)) for row in rows]

    def history(self, key: str, *, limit: int) -> list[Change]:
        """Return a note's versions, newest first; a deleted note's too.

        Raises:
            NotFoundError: If there never was such a note.
        """
        rows = self._tx.all(
            """SELECT version, operation, LENGTH(value) AS chars, actor, run_id, created_at FROM memory_versions
               WHERE key = :key ORDER BY version DESC LIMIT :limit""",
            key=valid_key(key),
            limit=limit,
        )
        if not rows:
            raise _no_note()
        return [Change.model_validate(dict(row)) for row in rows]

    def _expected(self, key: str, *, actor: str, version: int | None) -> Note | None:
        """Return the note to be written, deleted or not, after the checks that every write needs."""
        require_writable(valid_key(key), actor=actor)
        known = self._find(key)
        current = known.version if known and not known.deleted else 0
        if version is not None and version != current:
            raise ConflictError(
                f"the note is at version {current}." if current else "there is no such note.",
                next_step="Read it, then write with expected_version as it is now; 0 stands for no note.",
                details={"current_version": current},
            )
        return known

    def _write(self, known: Note | None, draft: _Draft, operation: Operation) -> Written:
        live = known if known and not known.deleted else None
        if live and operation != "delete" and (live.value, live.tags) == (draft.value, draft.tags):
            return Written(key=live.key, version=live.version, changed=False)
        if live is None:
            self._require_place(draft.key)
        version = known.version + 1 if known else 1
        self._save(draft, version=version, deleted=operation == "delete")
        self._tx.execute(
            """INSERT INTO memory_versions (key, version, operation, value, sha256, actor, run_id, created_at)
               VALUES (:key, :version, :operation, :value, :sha256, :actor, :run_id, :now)""",
            key=draft.key,
            version=version,
            operation=operation,
            value=draft.value,
            sha256=text_digest(draft.value),
            actor=draft.actor,
            run_id=draft.run_id,
            now=self._tx.now,
        )
        return Written(key=draft.key, version=version, changed=True)

    def _save(self, draft: _Draft, *, version: int, deleted: bool) -> None:
        self._tx.execute(
            """INSERT INTO memory_items
                 (key, value, tags, version, sha256, deleted, actor, run_id, created_at, updated_at)
               VALUES (:key, :value, :tags, :version, :sha256, :deleted, :actor, :run_id, :now, :now)
               ON CONFLICT (key) DO UPDATE SET value = :value, tags = :tags, version = :version, sha256 = :sha256,
                 deleted = :deleted, actor = :actor, run_id = :run_id, updated_at = :now""",
            key=draft.key,
            value=draft.value,
            tags=json.dumps(draft.tags, ensure_ascii=False),
            version=version,
            sha256=text_digest(draft.value),
            deleted=int(deleted),
            actor=draft.actor,
            run_id=draft.run_id,
            now=self._tx.now,
        )

    def _require_place(self, key: str) -> None:
        """Refuse a key that would be a note and a folder at once: as paths the two could not be told apart."""
        if any(self._live(folder) for folder in folders(key)):
            raise InvalidArgumentsError(
                "a part of the key is itself a note; a key is a note or a folder.", next_step="Choose another key."
            )
        if self.select(prefix=f"{key}/", limit=1):
            raise InvalidArgumentsError(
                "there are notes below this key; a key is a note or a folder.",
                next_step="Choose another key, such as one below it.",
            )

    def _live(self, key: str) -> Note | None:
        known = self._find(key)
        return known if known and not known.deleted else None

    def _find(self, key: str) -> Note | None:
        row = self._tx.one(f"SELECT {_NOTE} FROM memory_items WHERE key = :key", key=key)  # noqa: S608 - constants
        return Note.model_validate(dict(row)) if row else None


def _no_note() -> NotFoundError:
    return NotFoundError(
        "no note has this key.",
        next_step="Call memory_list or memory_search; a deleted note still has its memory_history.",
    )
