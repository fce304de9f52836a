-- One of everything that SQLite has: what is seeded, what is empty, and names that want quoting.

CREATE TABLE plain (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL DEFAULT 'somebody' UNIQUE, note TEXT);

CREATE TABLE seeded (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT COLLATE NOCASE, amount NUMERIC, ratio REAL, day TEXT, data TEXT, content BLOB, anything
);
CREATE INDEX by_day ON seeded (day, lower(name)) WHERE day IS NOT NULL;
INSERT INTO seeded VALUES
    (1, 'Seven', 1.5, 0.1, '2020-02-29', '{"a": [1, null]}', x'00ff27225c0a', 1),
    (2, '', NULL, -0.0, '', 'null', x'', ''),
    (3, NULL, 99999999999999999999, 1e300, NULL, NULL, NULL, NULL),
    (7, 'ünï 🦀 ''quoted'' "twice" \ back', 0, 9e999, NULL, '[]', x'f09fa680', 'text');
UPDATE sqlite_sequence SET seq = 1001 WHERE name = 'seeded';

CREATE TABLE "select" ("from" INTEGER PRIMARY KEY AUTOINCREMENT, "where" TEXT NOT NULL DEFAULT '');
INSERT INTO "select" VALUES (5, 'keyword');
CREATE TABLE "it's ""quoted""" ("a'b""c" INTEGER PRIMARY KEY, ";--" TEXT);
INSERT INTO "it's ""quoted""" VALUES (1, 'it''s');
CREATE TABLE "back`tick" ("x`y" INTEGER PRIMARY KEY, v INTEGER);
CREATE TABLE " two  words " ("a b" INTEGER PRIMARY KEY, v TEXT);
INSERT INTO " two  words " VALUES (1, NULL), (2, '');
CREATE TABLE "crab 🦀 ünï" ("é🦀" INTEGER PRIMARY KEY, v TEXT DEFAULT '🦀');
INSERT INTO "crab 🦀 ünï" VALUES (9, '🦀');

CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE child (id INTEGER PRIMARY KEY, parent NOT NULL REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE, name TEXT);
CREATE TABLE grandchild (id INTEGER PRIMARY KEY, child REFERENCES child ON DELETE CASCADE, friend REFERENCES parent ON DELETE SET NULL ON UPDATE CASCADE);
INSERT INTO parent VALUES (1, 'one'), (2, 'two'), (40, '');
INSERT INTO child VALUES (1, 1, 'a'), (2, 1, NULL), (3, 2, '');
INSERT INTO grandchild VALUES (1, 1, 2), (2, 3, 40), (3, NULL, NULL);
CREATE TABLE tree (id INTEGER PRIMARY KEY, up REFERENCES tree ON DELETE CASCADE);
INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2), (4, 4);
CREATE TABLE hen (id INTEGER PRIMARY KEY, egg REFERENCES egg DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE egg (id INTEGER PRIMARY KEY, hen REFERENCES hen);
INSERT INTO hen VALUES (1, NULL), (2, NULL);
INSERT INTO egg VALUES (1, 2), (2, 1);
UPDATE hen SET egg = id;

CREATE TABLE computed (
    a INTEGER PRIMARY KEY CHECK (a < 1000000), doubled AS (a * 2), squared AS (a * a) STORED UNIQUE, text TEXT NOT NULL DEFAULT 'x'
);
INSERT INTO computed (a, text) VALUES (3, ''), (5, 'five');
CREATE TABLE heap (a, b);
INSERT INTO heap VALUES (1, 'twice'), (1, 'twice'), (NULL, NULL), (0, '');
CREATE TABLE composite (a INTEGER, b TEXT, c REAL, PRIMARY KEY (b, a)) WITHOUT ROWID, STRICT;
INSERT INTO composite VALUES (1, 'x', 1.1), (1, '', NULL);
CREATE VIRTUAL TABLE search USING fts5 (words);
INSERT INTO search VALUES ('find me'), ('');

CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT NOT NULL, who TEXT);
CREATE TRIGGER parent_added AFTER INSERT ON parent BEGIN INSERT INTO audit (what, who) VALUES ('added', new.name); END;
CREATE TRIGGER child_gone AFTER DELETE ON child BEGIN INSERT INTO audit (what) VALUES ('gone'); END;
CREATE VIEW names AS SELECT id, name FROM parent WHERE name <> '';
CREATE TRIGGER names_added INSTEAD OF INSERT ON names BEGIN INSERT INTO parent (name) VALUES (new.name); END;
PRAGMA user_version = 17;
PRAGMA application_id = 4711;
