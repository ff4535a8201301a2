DROP TRIGGER IF EXISTS {balance}_guard ON {balance};
DROP TRIGGER IF EXISTS {cac}_guard ON {cac};
DROP TRIGGER IF EXISTS {cmt}_guard ON {cmt};
DROP FUNCTION IF EXISTS {refuse_others}();
