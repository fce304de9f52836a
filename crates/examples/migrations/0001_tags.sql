CREATE TABLE tags (
    tag_id VARCHAR(50) PRIMARY KEY,
    description VARCHAR(50)
);
CREATE TABLE audit (
    line VARCHAR(100) NOT NULL
);
