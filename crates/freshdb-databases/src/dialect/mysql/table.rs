//! The text of `CREATE TABLE`, as the servers show it: a line for each column and key, and one for the options.

const OPTIONS: &str = "\n) ENGINE=";
const COUNTER: &str = " AUTO_INCREMENT=";

/// Without the counter, which stands behind the engine.
pub(super) fn without_counter(create: &str) -> String {
    let Some(engine) = create.find(OPTIONS) else { return create.to_owned() };
    let options = engine + OPTIONS.len();
    let word = create[options..].split([' ', '\n']).next().unwrap_or_default().len();
    let from = options + word;
    let Some(digits) = create[from..].strip_prefix(COUNTER) else { return create.to_owned() };
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    format!("{}{}", &create[..from], &create[from + COUNTER.len() + length..])
}

/// Without the collations that columns have from their table. MySQL shows them as if they were said of the column, and shows
/// a column of which they were said in another way, so that what it shows does not make a table that it shows the same.
pub(super) fn without_inherited_collations(create: &str) -> String {
    let Some(end) = create.find(OPTIONS) else { return create.to_owned() };
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
    fn a_collation_is_cut_out_where_it_is_the_tables() {
        let create = "CREATE TABLE `t` (\n  `a COLLATE x_bin` enum('\\' COLLATE x_bin','ü') COLLATE x_bin DEFAULT ' COLLATE x_bin',\n  \
             `b` text CHARACTER SET y COLLATE x_bin,\n  `c` text COLLATE x_bin2\n) ENGINE=InnoDB DEFAULT CHARSET=x COLLATE=x_bin";
        let expected = "CREATE TABLE `t` (\n  `a COLLATE x_bin` enum('\\' COLLATE x_bin','ü') DEFAULT ' COLLATE x_bin',\n  \
             `b` text CHARACTER SET y COLLATE x_bin,\n  `c` text COLLATE x_bin2\n) ENGINE=InnoDB DEFAULT CHARSET=x COLLATE=x_bin";
        assert_eq!(without_inherited_collations(create), expected);
    }
}
