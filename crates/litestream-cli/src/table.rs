//! Plain tables: columns two blanks apart, the last one not padded.

use std::io::{self, Write};

/// Writes `header` and `rows`; every cell but the last is padded to the widest of its column + 2.
///
/// Width is counted in characters. A row shorter than the header is written as it is.
pub fn write(out: &mut dyn Write, header: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    write_row(out, &widths, header)?;
    for row in rows {
        let cells: Vec<&str> = row.iter().map(String::as_str).collect();
        write_row(out, &widths, &cells)?;
    }
    Ok(())
}

fn write_row(out: &mut dyn Write, widths: &[usize], cells: &[&str]) -> io::Result<()> {
    let mut line = String::new();
    for (index, cell) in cells.iter().enumerate() {
        line.push_str(cell);
        if index + 1 < cells.len() {
            let width = widths.get(index).copied().unwrap_or(0) + 2;
            let missing = width.saturating_sub(cell.chars().count());
            line.extend(std::iter::repeat_n(' ', missing));
        }
    }
    line.push('\n');
    out.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut out = Vec::new();
        let rows = vec![
            vec!["/x/a.db".into(), "file".into()],
            vec!["/x/long/name.db".into(), "s3".into()],
        ];
        write(&mut out, &["path", "replica"], &rows).unwrap();
        let expected =
            "path             replica\n/x/a.db          file\n/x/long/name.db  s3\n".to_owned();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn an_empty_table_is_its_header() {
        let mut out = Vec::new();
        write(&mut out, &["path", "replica"], &[]).unwrap();
        assert_eq!(out, b"path  replica\n");
    }
}
