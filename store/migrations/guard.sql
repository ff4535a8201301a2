-- The handlers of 2019 read a balance, compute, and write the new one back, without a lock and without a version: one
-- such write beside ours, and money is lost. Once a statement, whatever the number of its rows.
CREATE OR REPLACE FUNCTION {refuse_others}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is kept by another command handler, which has taken this database over; to write to it again, stop that one and run: command-handler hand-back', TG_TABLE_NAME
        USING ERRCODE = 'OB001';
END $$;
DROP TRIGGER IF EXISTS {balance}_guard ON {balance};
DROP TRIGGER IF EXISTS {cac}_guard ON {cac};
DROP TRIGGER IF EXISTS {cmt}_guard ON {cmt};
CREATE TRIGGER {balance}_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {balance}
    FOR EACH STATEMENT WHEN (current_setting('open_bank.handler', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION {refuse_others}();
CREATE TRIGGER {cac}_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {cac}
    FOR EACH STATEMENT WHEN (current_setting('open_bank.handler', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION {refuse_others}();
CREATE TRIGGER {cmt}_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {cmt}
    FOR EACH STATEMENT WHEN (current_setting('open_bank.handler', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION {refuse_others}();
