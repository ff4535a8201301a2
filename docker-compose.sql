-- bank_owner makes and changes the tables; clojure_ch, as whom the handler works, can use them and can't drop, truncate,
-- alter or delete anything; bank_reader is for open-bank verify and check. Put it to the database as a superuser, once.
CREATE ROLE bank_owner LOGIN PASSWORD 'open-bank-owner';
CREATE ROLE clojure_ch LOGIN PASSWORD 'open-bank';
CREATE ROLE bank_reader LOGIN PASSWORD 'open-bank-reader';

REVOKE ALL ON DATABASE balancedb FROM PUBLIC;
GRANT CONNECT ON DATABASE balancedb TO bank_owner, clojure_ch, bank_reader;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT CREATE, USAGE ON SCHEMA public TO bank_owner;
GRANT USAGE ON SCHEMA public TO clojure_ch, bank_reader;

ALTER DEFAULT PRIVILEGES FOR ROLE bank_owner IN SCHEMA public GRANT SELECT ON TABLES TO bank_reader;
