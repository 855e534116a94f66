-- Studies, their numbered runs, and every attempt at a run. The runs table is the truth; the broker carries work.

CREATE TABLE studies (
    study_uid       text PRIMARY KEY,
    -- Instances that the PACS listed at the last look (less our own), and since when that number stands.
    seen_count      integer,
    seen_since      timestamptz,
    seen_at         timestamptz,
    -- The count at which the instance list was last turned into an input digest.
    checked_count   integer,
    -- Digest and number of the newest revision; 0 = none yet.
    input_digest    text,
    revision        integer NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE runs (
    id               uuid PRIMARY KEY,
    study_uid        text NOT NULL REFERENCES studies,
    revision         integer NOT NULL CHECK (revision > 0),
    trigger          text NOT NULL,
    actor            text NOT NULL,
    input_digest     text NOT NULL,
    selection_digest text,
    pipeline_version text,
    state            text NOT NULL DEFAULT 'received' CHECK (state IN (
        'received', 'retrieving', 'analyzing', 'delivering',
        'completed', 'rejected', 'failed', 'cancelled', 'superseded', 'unchanged')),
    attempts         integer NOT NULL DEFAULT 0,
    -- Grows with every claim; a writer whose token is older may not write.
    fence            bigint NOT NULL DEFAULT 0,
    worker           text,
    lease_until      timestamptz,
    next_attempt_at  timestamptz NOT NULL DEFAULT now(),
    failure_code     text,
    failure_detail   text,
    -- W3C traceparent of the request that made the run.
    trace_context    text,
    measures         jsonb,
    -- PatientID, issuer and AccessionNumber at the analysis; compared with the PACS just before each delivery.
    patient_key      jsonb,
    -- Last time a queue message was confirmed by the broker; NULL = owed.
    published_at     timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    ended_at         timestamptz,
    UNIQUE (study_uid, revision)
);

-- At most one run of a study is before its outbox.
CREATE UNIQUE INDEX runs_one_working ON runs (study_uid) WHERE state IN ('received', 'retrieving', 'analyzing');
-- Reconciler: runs whose message the broker may have lost.
CREATE INDEX runs_due ON runs (next_attempt_at) WHERE state IN ('received', 'retrieving', 'analyzing');
-- `runs list --state`.
CREATE INDEX runs_by_state ON runs (state, id DESC);

CREATE TABLE run_attempts (
    run_id      uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    attempt     integer NOT NULL,
    fence       bigint NOT NULL,
    worker      text NOT NULL,
    -- Why there was this attempt: first, retry, lease-expired.
    reason      text NOT NULL CHECK (reason IN ('first', 'retry', 'lease-expired')),
    started_at  timestamptz NOT NULL DEFAULT now(),
    ended_at    timestamptz,
    -- analyzed, rejected, unchanged, failed, lease-expired, cancelled, superseded; NULL while it goes on.
    outcome     text,
    code        text,
    detail      text,
    PRIMARY KEY (run_id, fence)
);
