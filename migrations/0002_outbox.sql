-- What runs put out (content-addressed bytes), which objects are ours, and the outbox.

CREATE TABLE blobs (
    sha256      text PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    bytes       bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);
-- DICOM and PNG bytes do not compress: keep them out of line and uncompressed.
ALTER TABLE blobs ALTER COLUMN bytes SET STORAGE EXTERNAL;

CREATE TABLE artefacts (
    id            uuid PRIMARY KEY,
    run_id        uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    kind          text NOT NULL,
    name          text NOT NULL,
    -- Content address into blobs; no foreign key, because bytes are dropped after their keeping time.
    sha256        text NOT NULL,
    size          bigint NOT NULL,
    sop_class     text,
    sop_instance  text,
    series        text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    expired_at    timestamptz,
    UNIQUE (run_id, name),
    CHECK ((sop_instance IS NULL) = (series IS NULL) AND (sop_instance IS NULL) = (sop_class IS NULL))
);
CREATE INDEX artefacts_by_content ON artefacts (sha256);

-- SOP and Series Instance UIDs that we wrote: the only way that an object is known as ours.
CREATE TABLE own_objects (
    sop_instance  text PRIMARY KEY,
    series        text NOT NULL,
    sop_class     text NOT NULL,
    study_uid     text NOT NULL REFERENCES studies,
    run_id        uuid NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX own_objects_by_study ON own_objects (study_uid);
CREATE INDEX own_objects_by_series ON own_objects (series);

CREATE TABLE deliveries (
    id               uuid PRIMARY KEY,
    run_id           uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    study_uid        text NOT NULL,
    revision         integer NOT NULL,
    destination      text NOT NULL CHECK (destination IN ('pacs', 'ehr')),
    artefact_id      uuid NOT NULL REFERENCES artefacts ON DELETE CASCADE,
    -- Order within (run, destination): a later one is not sent before the earlier ones are delivered.
    position         integer NOT NULL,
    required         boolean NOT NULL DEFAULT true,
    state            text NOT NULL CHECK (state IN ('pending', 'sending', 'delivered', 'held', 'failed', 'cancelled')),
    attempts         integer NOT NULL DEFAULT 0,
    fence            bigint NOT NULL DEFAULT 0,
    worker           text,
    lease_until      timestamptz,
    next_attempt_at  timestamptz NOT NULL DEFAULT now(),
    code             text,
    detail           text,
    -- What the peer answered, less patient attributes: statuses, warning reasons, versions.
    response         jsonb,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    delivered_at     timestamptz,
    UNIQUE (run_id, destination, position)
);

-- Claim of due deliveries, and the guard "no other one of this study and destination is before it".
CREATE INDEX deliveries_due ON deliveries (destination, next_attempt_at) WHERE state = 'pending';
CREATE INDEX deliveries_sending ON deliveries (destination, lease_until) WHERE state = 'sending';
CREATE INDEX deliveries_order ON deliveries (study_uid, destination, revision, position)
    WHERE state IN ('pending', 'sending', 'held', 'failed');
CREATE INDEX deliveries_by_artefact ON deliveries (artefact_id);

-- What was last delivered of a study: its receipt.
CREATE INDEX deliveries_delivered ON deliveries (study_uid, destination, revision) WHERE state = 'delivered';
