CREATE TABLE memory_items (
  item_id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  value TEXT NOT NULL,
  tags TEXT NOT NULL,
  version INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  deleted INTEGER NOT NULL,
  actor TEXT NOT NULL,
  run_id TEXT NOT NULL,
  created_at DOUBLE PRECISION NOT NULL,
  updated_at DOUBLE PRECISION NOT NULL
);

-- The index holds no second copy of the values; it reads them through a view that knows no deleted note.
CREATE VIEW memory_live AS SELECT item_id, key, value, tags FROM memory_items WHERE deleted = 0;

CREATE VIRTUAL TABLE memory_search USING fts5 (
  key, value, tags, content = 'memory_live', content_rowid = 'item_id',
  tokenize = 'porter unicode61 remove_diacritics 2'
);

CREATE TRIGGER memory_search_insert AFTER INSERT ON memory_items WHEN new.deleted = 0
BEGIN
  INSERT INTO memory_search (rowid, key, value, tags) VALUES (new.item_id, new.key, new.value, new.tags);
END;

-- Before, because the order of two triggers after the same update is not defined.
CREATE TRIGGER memory_search_forget BEFORE UPDATE ON memory_items WHEN old.deleted = 0
BEGIN
  INSERT INTO memory_search (memory_search, rowid, key, value, tags)
  VALUES ('delete', old.item_id, old.key, old.value, old.tags);
END;

CREATE TRIGGER memory_search_update AFTER UPDATE ON memory_items WHEN new.deleted = 0
BEGIN
  INSERT INTO memory_search (rowid, key, value, tags) VALUES (new.item_id, new.key, new.value, new.tags);
END;
