//! How MySQL and MariaDB do it.
