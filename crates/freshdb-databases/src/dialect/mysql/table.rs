//! The text of `CREATE TABLE`, as the servers show it: a line for each column and key, and one for the options.

const END_OF_COLUMNS: &str = "\n)";
const ENGINE: &str = " ENGINE=";
const COUNTER: &str = " AUTO_INCREMENT=";
/// What stands before the engine, on MySQL, where a tablespace was named.
const TABLESPACE: &str = " /*!50100 TABLESPACE ";
const END_OF_TABLESPACE: &str = " */";
/// The one that all tables share which have none of their own.
const SHARED_TABLESPACE: &str = " /*!50100 TABLESPACE `innodb_system` */";
/// The same of a partition, which cannot be in it, though it is shown so where it would be if it could.
const SHARED_BY_PARTITION: &str = " TABLESPACE = `innodb_system` ENGINE = ";

/// Where the columns and keys end, and where the engine is said.
fn options(create: &str) -> Option<(usize, usize)> {
    create.match_indices(END_OF_COLUMNS).find_map(|(end, _)| {
        let rest = &create[end + END_OF_COLUMNS.len()..];
        let rest = match rest.strip_prefix(TABLESPACE) {
            Some(named) => named.split_once(END_OF_TABLESPACE)?.1,
            None => rest,
        };
        rest.starts_with(ENGINE).then(|| (end, create.len() - rest.len()))
    })
}

/// Whether it is said to be in the tablespace that all share.
pub(super) fn names_shared_tablespace(create: &str) -> bool {
    options(create).is_some_and(|(end, engine)| {
        create[end..engine].ends_with(SHARED_TABLESPACE) || create[engine..].contains(SHARED_BY_PARTITION)
    })
}

/// Without that.
pub(super) fn without_shared_tablespace(create: &str) -> String {
    let Some((_, engine)) = options(create) else { return create.to_owned() };
    let columns = create[..engine].strip_suffix(SHARED_TABLESPACE).unwrap_or(&create[..engine]);
    format!("{columns}{}", create[engine..].replace(SHARED_BY_PARTITION, " ENGINE = "))
}

/// Without the counter, which stands behind the engine.
pub(super) fn without_counter(create: &str) -> String {
    let Some((_, engine)) = options(create) else { return create.to_owned() };
    let options = engine + ENGINE.len();
    let word = create[options..].split([' ', '\n']).next().unwrap_or_default().len();
    let from = options + word;
    let Some(digits) = create[from..].strip_prefix(COUNTER) else { return create.to_owned() };
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    format!("{}{}", &create[..from], &create[from + COUNTER.len() + length..])
}

/// Without the collations that columns have from their table. MySQL shows them as if they were said of the column, and shows
/// a column of which they were said in another way, so that what it shows does not make a table that it shows the same.
pub(super) fn without_inherited_collations(create: &str) -> String {
    let Some((end, _)) = options(create) else { return create.to_owned() };
    let collation = create[end..].lines().nth(1).and_then(|options| {
        let from = options.find(" COLLATE=")? + " COLLATE=".len();
        options[from..].split([' ', '\n']).next()
    });
    let Some(collation) = collation else { return create.to_owned() };
    let clause = format!(" COLLATE {collation}");
    let lines: Vec<String> = create[..end].split('\n').map(|line| without_clause(line, &clause)).collect();
    format!("{}{}", lines.join("\n"), &create[end..])
}

/// Cuts a clause out of a column's line: the first that stands outside quotes and brackets, unless a character set is said before it.
fn without_clause(line: &str, clause: &str) -> String {
    if !line.starts_with("  `") {
        return line.to_owned();
    }
    let (mut quote, mut depth, mut escaped) = (None, 0_u32, false);
    for (at, byte) in line.bytes().enumerate() {
        if let Some(open) = quote {
            if escaped {
                escaped = false;
            } else if byte == b'\\' && open == b'\'' {
                escaped = true;
            } else if byte == open {
                // A doubled quote closes and opens again.
                quote = None;
            }
            continue;
        }
        match byte {
            b'\'' | b'`' => quote = Some(byte),
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b' ' if depth == 0 && line[at..].starts_with(" CHARACTER SET ") => return line.to_owned(),
            b' ' if depth == 0 && line[at..].starts_with(clause) => {
                let rest = &line[at + clause.len()..];
                if rest.is_empty() || rest.starts_with([' ', ',']) {
                    return format!("{}{rest}", &line[..at]);
                }
            }
            _ => {}
        }
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_cut_out_of_the_options_only() {
        let create = "CREATE TABLE `t` (\n  `a` int COMMENT ' AUTO_INCREMENT=3'\n) ENGINE=InnoDB AUTO_INCREMENT=12 COMMENT='AUTO_INCREMENT=4'";
        let expected =
            "CREATE TABLE `t` (\n  `a` int COMMENT ' AUTO_INCREMENT=3'\n) ENGINE=InnoDB COMMENT='AUTO_INCREMENT=4'";
        assert_eq!(without_counter(create), expected);
        assert_eq!(without_counter(expected), expected);
    }

    #[test]
    fn a_tablespace_stands_before_the_engine() {
        let create = |space: &str, counter: &str| {
            format!(
                "CREATE TABLE `t` (\n  `a` int COMMENT 'x\n)'\n){space} ENGINE=InnoDB{counter} DEFAULT CHARSET=x COLLATE=x_bin"
            )
        };
        for space in [SHARED_TABLESPACE, " /*!50100 TABLESPACE `of mine` */", ""] {
            assert_eq!(without_counter(&create(space, " AUTO_INCREMENT=12")), create(space, ""));
        }
        assert!(names_shared_tablespace(&create(SHARED_TABLESPACE, "")));
        assert_eq!(without_shared_tablespace(&create(SHARED_TABLESPACE, "")), create("", ""));
        let partitions = |space: &str| {
            let partition = format!("(PARTITION few VALUES LESS THAN (10){space} ENGINE = InnoDB) */");
            format!("{}\n/*!50100 PARTITION BY RANGE (`a`)\n{partition}", create("", ""))
        };
        assert!(names_shared_tablespace(&partitions(" TABLESPACE = `innodb_system`")));
        assert_eq!(without_shared_tablespace(&partitions(" TABLESPACE = `innodb_system`")), partitions(""));
        for other in [create(" /*!50100 TABLESPACE `of mine` */", ""), create("", SHARED_TABLESPACE)] {
            assert!(!names_shared_tablespace(&other));
            assert_eq!(without_shared_tablespace(&other), other);
        }
    }

    #[test]
    fn a_collation_is_cut_out_where_it_is_the_tables() {
        let create = "CREATE TABLE `t` (\n  `a COLLATE x_bin` enum('\\' COLLATE x_bin','ü') COLLATE x_bin DEFAULT ' COLLATE x_bin',\n  \
             `b` text CHARACTER SET y COLLATE x_bin,\n  `c` text COLLATE x_bin2\n) ENGINE=InnoDB DEFAULT CHARSET=x COLLATE=x_bin";
        let expected = "CREATE TABLE `t` (\n  `a COLLATE x_bin` enum('\\' COLLATE x_bin','ü') DEFAULT ' COLLATE x_bin',\n  \
             `b` text CHARACTER SET y COLLATE x_bin,\n  `c` text COLLATE x_bin2\n) ENGINE=InnoDB DEFAULT CHARSET=x COLLATE=x_bin";
        assert_eq!(without_inherited_collations(create), expected);
    }
}
