CREATE TABLE item AS SELECT i AS id, 'item ' || (i * 7919 % 10007) AS name, i * 0.25 AS price, i % 17 AS kind FROM generate_series(1, 12000 * :N) AS i;
CREATE INDEX by_name ON item (name);
SELECT kind, count(*) AS number, sum(price) AS total, min(name) AS first FROM item GROUP BY kind ORDER BY kind;
SELECT count(*) AS pairs FROM item a JOIN item b ON a.name = b.name WHERE a.kind = 3 AND b.kind = 5;
UPDATE item SET price = price * 2 WHERE name LIKE '%77%';
SELECT count(*) AS number, sum(price) AS total, max(length(name)) AS longest FROM item;
SELECT md5(string_agg(name, ',' ORDER BY name, id)) AS digest FROM item;
