-- When this machine's present boot began, as its clock stood when that was first asked; leases are counted from there.
CREATE TABLE boots (
  boot TEXT PRIMARY KEY,
  began_at DOUBLE PRECISION NOT NULL
);
