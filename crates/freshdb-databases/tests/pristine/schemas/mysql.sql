-- One of everything that MySQL and MariaDB both have: what is seeded, what is empty, and names that want quoting.

CREATE TABLE plain (
    id INT AUTO_INCREMENT PRIMARY KEY,
    name VARCHAR(100) NOT NULL DEFAULT 'somebody',
    note TEXT CHARACTER SET utf8mb4 NULL,
    UNIQUE KEY by_name (name)
) COMMENT = 'empty; its counter stands at one';

CREATE TABLE seeded (
    id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY,
    name VARCHAR(100) COLLATE utf8mb4_bin NULL,
    amount DECIMAL(12, 3) NULL,
    ratio DOUBLE NULL,
    day DATE NULL,
    at DATETIME(6) NULL,
    stamp TIMESTAMP NOT NULL DEFAULT '2001-02-03 04:05:06',
    data JSON NULL,
    content BLOB NULL,
    choice ENUM('a', 'b', '') NULL,
    flags SET('x', 'y') NOT NULL DEFAULT '',
    bits BIT(9) NULL,
    KEY by_day (day, name),
    FULLTEXT KEY words (name)
) AUTO_INCREMENT = 1001 COMMENT = 'it''s seeded';
INSERT INTO seeded (id, name, amount, ratio, day, at, data, content, choice, flags, bits) VALUES
    (1, 'Seven', 1.500, 0.1, '2020-02-29', '2020-02-29 12:00:00.123456', '{"a": [1, null]}', x'00ff27225c0a', 'a', 'x,y', b'1'),
    (2, '', NULL, -0.0, NULL, NULL, 'null', '', '', '', NULL),
    (3, NULL, -99.999, 1e300, '1000-01-01', '9999-12-31 23:59:59.999999', NULL, NULL, NULL, 'y', b'101010101'),
    (7, 'ünï 🦀 ''quoted'' "twice" \\ back', 0, NULL, NULL, NULL, '[]', x'f09fa680', 'b', 'x', b'0');

CREATE TABLE `select` (`from` INT AUTO_INCREMENT PRIMARY KEY, `where` VARCHAR(20) NOT NULL DEFAULT '') AUTO_INCREMENT = 77;
INSERT INTO `select` VALUES (5, 'keyword');
CREATE TABLE `it's "quoted"` (`a'b"c` INT PRIMARY KEY, `;--` VARCHAR(20) NULL);
INSERT INTO `it's "quoted"` VALUES (1, 'it''s');
CREATE TABLE `back``tick` (`x``y` INT AUTO_INCREMENT PRIMARY KEY, v INT NULL);
CREATE TABLE `two  words` (`a b` INT PRIMARY KEY, v TEXT NULL);
INSERT INTO `two  words` VALUES (1, NULL), (2, '');
-- Outside of the basic multilingual plane MySQL allows no identifier.
CREATE TABLE `smile ☺ ünï` (`é☺` INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(20) CHARACTER SET utf8mb4 DEFAULT '🦀' COMMENT 'a 🦀');
INSERT INTO `smile ☺ ünï` VALUES (9, '🦀');
CREATE TABLE `%s {} \ ?` (id INT PRIMARY KEY, v INT NULL);

CREATE TABLE parent (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50) NOT NULL UNIQUE) AUTO_INCREMENT = 43;
CREATE TABLE child (
    id INT AUTO_INCREMENT PRIMARY KEY,
    parent INT NOT NULL,
    name VARCHAR(50) NULL,
    CONSTRAINT `child's parent` FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE TABLE grandchild (
    id INT AUTO_INCREMENT PRIMARY KEY,
    child INT NULL,
    friend INT NULL,
    FOREIGN KEY (child) REFERENCES child (id) ON DELETE CASCADE,
    FOREIGN KEY (friend) REFERENCES parent (id) ON DELETE SET NULL ON UPDATE CASCADE
);
INSERT INTO parent VALUES (1, 'one'), (2, 'two'), (40, '');
INSERT INTO child VALUES (1, 1, 'a'), (2, 1, NULL), (3, 2, '');
INSERT INTO grandchild VALUES (1, 1, 2), (2, 3, 40), (3, NULL, NULL);

CREATE TABLE tree (
    id INT AUTO_INCREMENT PRIMARY KEY,
    up INT NULL,
    FOREIGN KEY (up) REFERENCES tree (id) ON DELETE CASCADE
);
INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2), (4, 4);

CREATE TABLE hen (id INT PRIMARY KEY, egg INT NULL);
CREATE TABLE egg (id INT PRIMARY KEY, hen INT NULL, FOREIGN KEY (hen) REFERENCES hen (id));
INSERT INTO hen VALUES (1, NULL), (2, NULL);
INSERT INTO egg VALUES (1, 2), (2, 1);
UPDATE hen SET egg = id;
ALTER TABLE hen ADD CONSTRAINT first_the_egg FOREIGN KEY (egg) REFERENCES egg (id);

CREATE TABLE computed (
    a INT NOT NULL,
    doubled INT GENERATED ALWAYS AS (a * 2) VIRTUAL,
    squared INT GENERATED ALWAYS AS (a * a) STORED,
    text VARCHAR(20) NOT NULL DEFAULT 'x',
    PRIMARY KEY (a),
    UNIQUE KEY by_square (squared),
    CONSTRAINT small CHECK (a < 1000000)
);
INSERT INTO computed (a, text) VALUES (3, ''), (5, 'five');

CREATE TABLE born (
    id CHAR(36) NOT NULL DEFAULT (UUID()) PRIMARY KEY,
    at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    changed TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
    lot INT NOT NULL DEFAULT (1 + 1)
);
INSERT INTO born VALUES
    ('ffffffff-0000-0000-0000-000000000000', '2038-01-19 03:14:07', '2038-01-19 03:14:07.000', 1),
    ('00000000-0000-0000-0000-000000000000', '2001-02-03 04:05:06', '2001-02-03 04:05:06.789', 3);

CREATE TABLE heap (a INT NULL, b VARCHAR(20) NULL);
INSERT INTO heap VALUES (1, 'twice'), (1, 'twice'), (NULL, NULL), (0, '');

CREATE TABLE composite (a INT NOT NULL, b VARCHAR(10) NOT NULL, c DOUBLE NULL, PRIMARY KEY (b, a));
INSERT INTO composite VALUES (1, 'x', 1.1), (1, '', NULL);

CREATE TABLE partitioned (id INT NOT NULL AUTO_INCREMENT, year INT NOT NULL, v VARCHAR(20) NULL, PRIMARY KEY (id, year))
    AUTO_INCREMENT = 21
    PARTITION BY RANGE (year) (
        PARTITION past VALUES LESS THAN (2000),
        PARTITION present VALUES LESS THAN (2030),
        PARTITION future VALUES LESS THAN MAXVALUE
    );
INSERT INTO partitioned VALUES (1, 1999, 'old'), (2, 2020, NULL), (3, 2999, '');

CREATE TABLE untransactional (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(20) NULL) ENGINE = MyISAM AUTO_INCREMENT = 12;
INSERT INTO untransactional VALUES (4, 'stays');

CREATE TABLE audit (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(100) NOT NULL, who VARCHAR(100) NULL);
CREATE TRIGGER parent_added AFTER INSERT ON parent FOR EACH ROW INSERT INTO audit (what) VALUES (CONCAT('added ', NEW.name));
CREATE TRIGGER parent_changed BEFORE UPDATE ON parent FOR EACH ROW BEGIN
    INSERT INTO audit (what, who) VALUES ('changed', OLD.name);
    SET NEW.name = TRIM(NEW.name);
END;
CREATE TRIGGER child_gone AFTER DELETE ON child FOR EACH ROW INSERT INTO audit (what) VALUES ('gone');

CREATE VIEW names AS SELECT id, name FROM parent WHERE name <> '' WITH CHECK OPTION;
CREATE VIEW `names of "children"` AS SELECT names.name AS `the parent's`, child.name FROM names JOIN child ON child.parent = names.id;
CREATE PROCEDURE fill(IN count INT) MODIFIES SQL DATA COMMENT 'it''s a routine' BEGIN
    DECLARE number INT DEFAULT 0;
    WHILE number < count DO
        INSERT INTO plain (name) VALUES (CONCAT('filled ', number, UUID()));
        SET number = number + 1;
    END WHILE;
END;
CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC NO SQL RETURN n * 2;
CREATE EVENT never ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01 00:00:00' DISABLE COMMENT 'ünï' DO DELETE FROM audit;
