-- Who may sign in to the console. Roles are a JSON list; a password is kept as its Argon2 hash only.
CREATE TABLE people (
  name TEXT PRIMARY KEY,
  password TEXT NOT NULL,
  roles TEXT NOT NULL,
  disabled INTEGER NOT NULL,
  created_at DOUBLE PRECISION NOT NULL,
  changed_at DOUBLE PRECISION NOT NULL
);

-- Who is signed in. The secret of a session is in its cookie; here is its hash.
CREATE TABLE sessions (
  token_sha256 TEXT PRIMARY KEY,
  name TEXT NOT NULL REFERENCES people (name),
  begun_at DOUBLE PRECISION NOT NULL,
  seen_at DOUBLE PRECISION NOT NULL
);

CREATE INDEX sessions_name ON sessions (name);

-- Failed sign-ins of the last minutes, by the hash of the name that was tried and by address.
CREATE TABLE login_attempts (
  attempt_id TEXT PRIMARY KEY,
  name_sha256 TEXT NOT NULL,
  address TEXT NOT NULL,
  tried_at DOUBLE PRECISION NOT NULL
);

CREATE INDEX login_attempts_name ON login_attempts (name_sha256, tried_at);

CREATE INDEX login_attempts_address ON login_attempts (address, tried_at);
