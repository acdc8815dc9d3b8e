-- Words without accents and punctuation, which PostgreSQL's parser would otherwise read as paths, hosts and signs.
CREATE FUNCTION memory_plain (words TEXT) RETURNS TEXT IMMUTABLE STRICT PARALLEL SAFE
RETURN lower(
  regexp_replace(
    regexp_replace(normalize(words, NFKD), '[\u0300-\u036f]+', '', 'g'),
    '[\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00bf\u2000-\u206f\u2190-\u2bff\u3000-\u303f\U0001f000-\U0001faff]+',
    ' ', 'g'
  ) COLLATE "default"
);

-- Any of the words: plainto_tsquery demands every one.
CREATE FUNCTION memory_any (words TEXT) RETURNS tsquery IMMUTABLE STRICT PARALLEL SAFE
RETURN replace(plainto_tsquery('pg_catalog.english', memory_plain(words))::text, '&', '|')::tsquery;

CREATE TABLE memory_items (
  key TEXT COLLATE "C" PRIMARY KEY,
  value TEXT COLLATE "C" NOT NULL,
  tags TEXT COLLATE "C" NOT NULL,
  version BIGINT NOT NULL,
  sha256 TEXT COLLATE "C" NOT NULL,
  deleted BIGINT NOT NULL,
  actor TEXT COLLATE "C" NOT NULL,
  run_id TEXT COLLATE "C" NOT NULL,
  created_at DOUBLE PRECISION NOT NULL,
  updated_at DOUBLE PRECISION NOT NULL,
  document tsvector NOT NULL GENERATED ALWAYS AS (
    setweight(to_tsvector('pg_catalog.english', memory_plain(key)), 'A')
    || setweight(to_tsvector('pg_catalog.english', memory_plain(tags)), 'B')
    || to_tsvector('pg_catalog.english', memory_plain(value))
  ) STORED
);

CREATE INDEX memory_search ON memory_items USING gin (document) WHERE deleted = 0;
