-- A hint for who waits for a person: something about the requests is new. One transaction sends it once.
CREATE FUNCTION approvals_changed () RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NOTIFY gatebook_approvals; RETURN NULL; END
$$;

CREATE TRIGGER approvals_changed AFTER INSERT OR UPDATE ON approvals
FOR EACH ROW EXECUTE FUNCTION approvals_changed ();

CREATE TRIGGER decisions_changed AFTER INSERT ON decisions
FOR EACH ROW EXECUTE FUNCTION approvals_changed ();
