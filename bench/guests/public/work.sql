PRAGMA journal_mode = WAL;
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price REAL, kind INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000 * :N)
INSERT INTO item SELECT i, 'item ' || (i * 7919 % 10007), i * 0.25, i % 17 FROM n;
CREATE INDEX by_name ON item (name);
SELECT kind, count(*), sum(price), min(name) FROM item GROUP BY kind ORDER BY kind;
SELECT count(*) FROM item a JOIN item b ON a.name = b.name WHERE a.kind = 3 AND b.kind = 5;
UPDATE item SET price = price * 2 WHERE name LIKE '%77%';
DELETE FROM item WHERE kind = 11;
SELECT count(*), sum(price), max(length(name)) FROM item;
PRAGMA integrity_check;
