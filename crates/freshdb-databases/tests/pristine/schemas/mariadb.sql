-- What MariaDB has in addition.

CREATE SEQUENCE numbers START WITH 100 INCREMENT BY 7 MINVALUE 1 MAXVALUE 100000 CACHE 5;
CREATE SEQUENCE `it's "a" sequence` NOCACHE;
SELECT NEXTVAL(numbers), NEXTVAL(`it's "a" sequence`);
-- Before 10.7 it has no UUID, and reads what stands in a comment of a later version as one.
CREATE TABLE numbered (id BIGINT NOT NULL DEFAULT (NEXTVAL(numbers)) PRIMARY KEY, v /*M!100700 UUID NULL, text */ CHAR(36) NULL, address INET6 NULL);
INSERT INTO numbered (id, v, address) VALUES (3, '123e4567-e89b-12d3-a456-426655440000', '::1');
CREATE TABLE crash_safe (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(20) NULL) ENGINE = Aria AUTO_INCREMENT = 8;
INSERT INTO crash_safe VALUES (2, 'aria');
