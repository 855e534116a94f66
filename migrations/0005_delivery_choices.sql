-- A person decided that what stands in the EHR gives way to this delivery, although somebody changed it there.
ALTER TABLE deliveries ADD COLUMN overwrite boolean NOT NULL DEFAULT false;
