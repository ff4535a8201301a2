-- What this handler adds. Every column is nullable or has a constant default, so that none rewrites a large table.
ALTER TABLE {balance}
    ADD COLUMN opening bigint NOT NULL DEFAULT 0,
    ADD COLUMN version bigint NOT NULL DEFAULT 0,
    SET (fillfactor = 50); -- a balance changes all the time, its indexed columns never: room for updates within the page
-- "C": compared byte by byte, in the same order on every server, at a fraction of a locale's cost.
-- Before the rows are updated: an index on rows that the same transaction has updated is not used by anybody until
-- every older transaction on the server has ended.
CREATE UNIQUE INDEX {balance}_iban_key ON {balance} (iban COLLATE "C");

UPDATE {balance} SET opening = amount WHERE amount <> 0;

-- Whoever sets updated_at need not pay for a function call on each row: our own update does, the old handlers' do not.
DROP TRIGGER {balance}_updated_at ON {balance};
CREATE TRIGGER {balance}_updated_at BEFORE UPDATE ON {balance}
    FOR EACH ROW WHEN (OLD.updated_at IS NOT DISTINCT FROM NEW.updated_at)
    EXECUTE FUNCTION {maintain_updated_at}();

ALTER TABLE {cac}
    ADD COLUMN seq              bigint,
    ADD COLUMN origin_offset    bigint,
    ADD COLUMN origin_topic     int,
    ADD COLUMN origin_partition int;

ALTER TABLE {cmt}
    ADD COLUMN seq              bigint,
    ADD COLUMN origin_offset    bigint,
    ADD COLUMN fingerprint      bigint,
    ADD COLUMN amount           bigint,
    ADD COLUMN from_balance     bigint,
    ADD COLUMN from_version     bigint,
    ADD COLUMN to_balance       bigint,
    ADD COLUMN to_version       bigint,
    ADD COLUMN origin_topic     int,
    ADD COLUMN origin_partition int,
    ADD COLUMN from_party       text,
    ADD COLUMN to_party         text,
    ADD COLUMN description      text;

-- A batch draws one number and counts on from it, so a step is the largest batch.
CREATE SEQUENCE {command_seq} INCREMENT BY {max_batch};

-- Rows name their topic by number: name and id together are over 40 bytes, on every command.
CREATE TABLE {command_topic} (
    id       int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic    text NOT NULL,
    topic_id uuid NOT NULL,
    UNIQUE (topic, topic_id)
);

CREATE TABLE {progress} (
    topic        text   NOT NULL,
    topic_id     uuid   NOT NULL,
    partition    int    NOT NULL,
    executed_to  bigint NOT NULL,
    published_to bigint NOT NULL,
    PRIMARY KEY (topic, topic_id, partition)
);
