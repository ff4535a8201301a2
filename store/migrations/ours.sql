-- A batch draws one number and counts on from it, so a step is the largest batch.
CREATE SEQUENCE IF NOT EXISTS {command_seq} INCREMENT BY {max_batch};

-- Rows name their topic by number: name and id together are over 40 bytes, on every command.
CREATE TABLE IF NOT EXISTS {command_topic} (
    id       int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic    text NOT NULL,
    topic_id uuid NOT NULL,
    UNIQUE (topic, topic_id)
);

CREATE TABLE IF NOT EXISTS {progress} (
    topic        text   NOT NULL,
    topic_id     uuid   NOT NULL,
    partition    int    NOT NULL,
    executed_to  bigint NOT NULL,
    published_to bigint NOT NULL,
    PRIMARY KEY (topic, topic_id, partition)
);

-- A row for each time that this handler was, or is, in charge of the balances.
CREATE TABLE IF NOT EXISTS {tenure} (
    id             int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    since_seq      bigint      NOT NULL, -- commands up to this seq are history
    opened_to      int,                  -- accounts up to this balance_id have their opening entry
    began_at       timestamptz NOT NULL DEFAULT current_timestamp,
    ready_at       timestamptz,          -- null: being taken over
    handed_back_at timestamptz           -- null: in charge
);
