//! A table with a frame, for people.

use std::io::{self, Write};

use super::Rows;
use crate::term::Term;

pub(super) fn write(out: &mut dyn Write, rows: &Rows) -> io::Result<()> {
    if rows.rows.is_empty() {
        return Ok(());
    }
    let cells: Vec<Vec<String>> = std::iter::once(rows.columns.clone())
        .chain(
            rows.rows
                .iter()
                .map(|row| row.iter().map(Term::to_text).collect()),
        )
        .collect();
    let width = |column: usize| {
        let widths = cells.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..rows.columns.len()).map(width).collect();

    rule(out, &widths, ["┌", "┬", "┐"])?;
    for (number, row) in cells.iter().enumerate() {
        if number > 0 {
            rule(out, &widths, ["├", "┼", "┤"])?;
        }
        for (text, &width) in row.iter().zip(&widths) {
            write!(out, "│ {text:width$} ")?;
        }
        writeln!(out, "│")?;
    }
    rule(out, &widths, ["└", "┴", "┘"])
}

fn rule(out: &mut dyn Write, widths: &[usize], corners: [&str; 3]) -> io::Result<()> {
    let [left, middle, right] = corners;
    let lines: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
    writeln!(out, "{left}{}{right}", lines.join(middle))
}
