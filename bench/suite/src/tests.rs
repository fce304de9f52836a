//! The tests: one body, two hundred names.

/// What every test does on its connection: a row into each of the tables that it touches, and then each of them has that one row
/// and no other. The first argument is the sqlx that the connection is of.
#[macro_export]
macro_rules! body {
    ($sqlx:ident, $connection:expr) => {{
        let statements = $crate::statements();
        let name = $crate::unique_name();
        for insert in &statements.inserts {
            $sqlx::query(*insert).bind(name.as_str()).execute(&mut *$connection).await.expect("a row is inserted");
        }
        let counts = $sqlx::query(statements.count).fetch_one(&mut *$connection).await.expect("rows are counted");
        for touched in 0..statements.inserts.len() {
            let rows: i64 = $sqlx::Row::get(&counts, touched);
            assert_eq!(rows, 1, "rows in the touched table number {touched}");
        }
    }};
}

/// Two hundred tests. `$test!(name)` makes one, in a module two below the one that this stands in.
#[macro_export]
macro_rules! two_hundred {
    ($test:ident) => {
        $crate::two_hundred!(groups $test: g0 g1 g2 g3 g4 g5 g6 g7 g8 g9);
    };
    (groups $test:ident: $($group:ident)*) => {
        $(mod $group {
            $crate::two_hundred!(tests $test: t00 t01 t02 t03 t04 t05 t06 t07 t08 t09 t10 t11 t12 t13 t14 t15 t16 t17 t18 t19);
        })*
    };
    (tests $test:ident: $($name:ident)*) => {
        $($test!($name);)*
    };
}
