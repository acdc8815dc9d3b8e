-- When the next write of an account may begin, for desks that want time between any two of them.
CREATE TABLE desk_pace (
  account TEXT PRIMARY KEY,
  next_at DOUBLE PRECISION NOT NULL
);
