-- The audit ledger. Events are inserted unchained in the transaction of the act; the sealer chains committed ones.
-- Grants: the app role has INSERT and SELECT here and nothing else (store/migrate.rs).

-- Identity of this ledger; the first link of the chain is derived from it.
CREATE TABLE audit_ledger (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id          uuid NOT NULL DEFAULT gen_random_uuid(),
    created_at  timestamptz NOT NULL DEFAULT now()
);
INSERT INTO audit_ledger DEFAULT VALUES;

CREATE TABLE audit_events (
    id           uuid NOT NULL,
    recorded_at  timestamptz NOT NULL,
    -- The bytes that are hashed (canonical JSON); the columns beside it are copies for searching.
    canonical    text NOT NULL,
    kind         text NOT NULL,
    outcome      text NOT NULL,
    actor        text NOT NULL,
    -- Keyed pseudonym of the study; who that is stands in audit_subjects and can be erased.
    subject      text,
    run_id       uuid,
    peer         text,
    PRIMARY KEY (recorded_at, id)
) PARTITION BY RANGE (recorded_at);

-- Catches what no month was made for; rows here are an alarm.
CREATE TABLE audit_events_default PARTITION OF audit_events DEFAULT;

CREATE INDEX audit_events_by_run ON audit_events (run_id, recorded_at) WHERE run_id IS NOT NULL;
CREATE INDEX audit_events_by_subject ON audit_events (subject, recorded_at) WHERE subject IS NOT NULL;
CREATE INDEX audit_events_by_kind ON audit_events (kind, recorded_at);
CREATE INDEX audit_events_by_actor ON audit_events (actor, recorded_at);

-- Committed events that the sealer has not chained yet.
CREATE TABLE audit_pending (
    event_id     uuid PRIMARY KEY,
    recorded_at  timestamptz NOT NULL
);

-- The chain: no content, only digests, so it stays when a month of events is dropped or an identity erased.
CREATE TABLE audit_chain (
    sequence     bigint PRIMARY KEY CHECK (sequence > 0),
    event_id     uuid NOT NULL UNIQUE,
    recorded_at  timestamptz NOT NULL,
    event_hash   bytea NOT NULL CHECK (length(event_hash) = 32),
    sealed_at    timestamptz NOT NULL,
    chain_hash   bytea NOT NULL CHECK (length(chain_hash) = 32)
);

CREATE TABLE audit_checkpoints (
    sequence    bigint NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('periodic', 'month')),
    -- First day of the closed month, for kind 'month'.
    month       date,
    made_at     timestamptz NOT NULL,
    -- The signed file, as written outside the database.
    document    text NOT NULL,
    PRIMARY KEY (sequence, kind, made_at)
);

CREATE TABLE audit_subjects (
    pseudonym             text PRIMARY KEY,
    study_uid             text NOT NULL,
    patient_id            text,
    issuer_of_patient_id  text,
    patient_name          text,
    accession_number      text,
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_subjects_by_patient ON audit_subjects (patient_id);

-- Makes the partitions of this and the next months. The app role has no DDL, so the function runs as its owner.
CREATE FUNCTION audit_make_partitions(months_ahead integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first  date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
    start  date;
    name   text;
    made   integer := 0;
    home   text := (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                    JOIN pg_proc p ON p.pronamespace = n.oid AND p.proname = 'audit_make_partitions'
                    WHERE c.relname = 'audit_events' LIMIT 1);
BEGIN
    PERFORM pg_advisory_xact_lock(7382011);
    FOR step IN 0 .. least(greatest(months_ahead, 0), 24) LOOP
        start := (first + make_interval(months => step))::date;
        name := 'audit_events_' || to_char(start, 'YYYY_MM');
        IF to_regclass(format('%I.%I', home, name)) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE %I.%I PARTITION OF %I.audit_events FOR VALUES FROM (%L) TO (%L)',
                home, name, home,
                to_char(start, 'YYYY-MM-DD') || ' 00:00:00+00',
                to_char(start + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00');
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END $$;
REVOKE ALL ON FUNCTION audit_make_partitions(integer) FROM PUBLIC;
SELECT audit_make_partitions(3);
