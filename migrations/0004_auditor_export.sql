-- An export of the ledger is recorded in it, and the auditor's role may insert nothing. This function, which runs as its
-- owner, writes down that one kind of event under the name that the caller logged in with, and no other.
CREATE FUNCTION audit_record_export(event_id uuid, at timestamptz, event_text text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    event  jsonb := event_text::jsonb;
    actor  text := event ->> 'actor';
BEGIN
    IF (event ->> 'kind') IS DISTINCT FROM 'audit-export' OR (event ->> 'outcome') IS DISTINCT FROM 'success'
       OR (event ->> 'id') IS DISTINCT FROM event_id::text OR (event ->> 'schema') IS DISTINCT FROM '1'
       OR (event ->> 'run') IS NOT NULL OR (event ->> 'peer') IS NOT NULL
       OR (event ->> 'recorded') IS DISTINCT FROM to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
       OR abs(extract(epoch FROM clock_timestamp() - at)) > 300
       OR actor IS NULL OR left(actor, length(session_user) + 1) <> session_user || '/' OR length(event_text) > 8192
    THEN
        RAISE EXCEPTION 'only the record of an export of one''s own can be written' USING ERRCODE = '42501';
    END IF;
    INSERT INTO audit_events (id, recorded_at, canonical, kind, outcome, actor, subject, run_id, peer)
    VALUES (event_id, at, event_text, 'audit-export', 'success', actor, event ->> 'subject', NULL, NULL);
    INSERT INTO audit_pending (event_id, recorded_at) VALUES (event_id, at);
END $$;
REVOKE ALL ON FUNCTION audit_record_export(uuid, timestamptz, text) FROM PUBLIC;

-- `audit export --study` by the auditor, who has no key to make a pseudonym with.
CREATE INDEX audit_subjects_by_study ON audit_subjects (study_uid);
