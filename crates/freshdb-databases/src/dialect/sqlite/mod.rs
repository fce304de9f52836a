//! How SQLite does it: a server is a directory, a database a file in it.
